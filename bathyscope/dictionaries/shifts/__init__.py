"""Concepts from shifts: sparse signed codes of differences of activations, under a constraint and without labels."""
