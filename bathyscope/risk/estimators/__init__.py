"""Estimators of rare events, one paper's idea a file."""
