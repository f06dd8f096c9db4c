"""Scores of explanations that need no model to judge, on documents that no explanation was made from."""
