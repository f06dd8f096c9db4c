"""Worlds: small networks and laws of inputs whose rare outputs have known probabilities."""
