"""OpenAI / AITracer comparison: is the traced cost aligned with the bill?"""
