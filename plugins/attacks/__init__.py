"""Attacks: what turns a source model into a stolen suspect."""
