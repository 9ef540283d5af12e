"""What runs the exporter for real; of it, only the stack without containers is Python."""
