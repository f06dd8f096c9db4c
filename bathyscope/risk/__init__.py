"""Estimate the probability of outputs too rare to sample."""
