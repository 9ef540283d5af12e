"""OpenAI / Usage: what is used, by whom, of what, and how near the limits are."""
