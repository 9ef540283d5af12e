"""Grafana dashboards: the JSON to import, and the Python that authors it."""
