"""Third-party code under control: process state, output, separate processes."""
