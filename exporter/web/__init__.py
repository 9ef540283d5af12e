"""What answers HTTP: a small hardened server, and the pages the exporter shows on it."""
