"""Run one task, and many."""
