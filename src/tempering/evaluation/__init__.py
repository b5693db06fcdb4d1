"""Judges what attacks propose; flags what cannot be trusted."""
