"""Methods: fingerprints and watermarks."""
