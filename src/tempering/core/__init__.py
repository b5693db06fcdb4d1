"""Threat models, goals, random streams, records: what every room uses."""
