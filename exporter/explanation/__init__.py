"""What a configuration makes of an organization's rows, told to the person who writes it."""
