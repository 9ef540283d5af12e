"""The audit: what the API says now, what the ledger holds and what a Prometheus stores, set against each other."""
