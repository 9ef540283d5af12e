"""A past for Prometheus: what it would hold, had it watched the simulated organization for weeks."""
