"""The configuration file: its sections, and how it is read."""
