"""Compiled loops over firings; their definitions stand beside their callers in plain NumPy."""
