"""Whatever comes from outside: read, or refused by name. `make fuzz` runs the same properties for longer."""
