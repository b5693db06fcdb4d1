"""Immutable datasets in [0, 1]: sources, validation, splits, augmentation, hashes."""
