"""Prometheus exporter for OpenAI's organization usage and costs APIs."""
