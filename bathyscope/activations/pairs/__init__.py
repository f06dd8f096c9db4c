"""Pairs of texts that differ in some factors: where they come from, what is known of them, their activations."""
