"""Vectors of other tools, read and written."""
