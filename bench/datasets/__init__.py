"""Dataset files, and how images are divided."""
