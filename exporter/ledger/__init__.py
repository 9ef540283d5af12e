"""The ledger: what the API has reported, what was counted of it, what is held back. Exact, durable, single writer."""
