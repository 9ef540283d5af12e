"""A transparent reverse proxy in front of AITracer's ingest that counts the traces it accepts on the way."""
