"""Change what the model says through features or directions."""
