"""The dashboard OpenAI / Spend, a section a module."""
