"""Tempering: classifiers that withstand adversarial inputs, with evidence."""
