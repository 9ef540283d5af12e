"""Client of OpenAI's organization API: what it offers, how it is asked, and how its answers are read."""
