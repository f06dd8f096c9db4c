"""Measure against a world whose truth we know, against data, and against nulls."""
