"""Tasks that the command line knows by name."""
