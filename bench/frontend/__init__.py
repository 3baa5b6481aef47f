"""Run a benchmark and look at its results, from Python or for the command line."""
