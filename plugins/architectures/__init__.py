"""Architectures: makers of untrained networks."""
