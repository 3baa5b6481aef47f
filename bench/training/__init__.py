"""Training and inference with torch."""
