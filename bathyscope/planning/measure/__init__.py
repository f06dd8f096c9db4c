"""Measures what this machine does in a second, each sort of work by running the code that does it."""
