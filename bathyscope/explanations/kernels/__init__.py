"""Compiled loops over firings, units and windows; their definitions stand in plain NumPy in the tests."""
