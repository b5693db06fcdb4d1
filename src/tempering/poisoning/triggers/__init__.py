"""Triggers of backdoors: what is stamped on an image."""
