"""Worlds: activations made of features that are known, so that a dictionary can be compared with the truth."""
