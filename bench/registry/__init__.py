"""Find, look up and validate plugins."""
