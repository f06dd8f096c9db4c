"""Scores of explanations: whether the words tell where a feature fires."""
