"""The past: what Prometheus would hold, had this exporter run since long ago, and the state to go on from."""
