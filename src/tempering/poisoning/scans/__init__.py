"""Scans of training data: a score for each sample, higher where it is more suspect."""
