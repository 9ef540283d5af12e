"""OpenAI / Exporter: is the data fresh and whole?"""
