"""Plain data that every other package uses: no torch, no disk."""
