"""The only part with a clock: asks OpenAI when it is time, and lets the ledger and the pages follow."""
