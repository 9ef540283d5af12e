"""What one token costs: learned from the organization's own bill, else configured, else by list."""
