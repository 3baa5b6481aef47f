"""Write and read `trials.csv` and `run.json`."""
