"""Objectives, the loop, stop rules, checkpoints."""
