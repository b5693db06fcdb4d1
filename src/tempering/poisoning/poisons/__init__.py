"""Poisons: attacks on training data, one a file."""
