"""Judge one real suspect: commitments, verdicts with an error rate, and evidence that others can check."""
