"""Expectations and tail probabilities of a network from its weights, layer by layer, instead of from samples."""
