"""Judges of steered answers. Each rates one aspect with 0, 1 or 2, and says how often it is right."""
