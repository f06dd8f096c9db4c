"""Dictionaries of other tools: read into the neutral form, written from it, and checked against what they claim."""
