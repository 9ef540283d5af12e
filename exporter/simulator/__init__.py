"""A simulated organization behind a real HTTP server. The exporter proper never imports this room."""
