"""The ledger: what the API has reported, what was counted of it, and what is held back. Exact, durable, single writer."""
