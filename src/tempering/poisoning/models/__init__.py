"""Models that may hold a backdoor: triggers reconstructed from them, and their repair."""
