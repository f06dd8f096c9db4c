"""Rare events seen through a dictionary: activations that were never seen, put together of features that were."""
