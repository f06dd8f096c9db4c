"""Training with several processes: who holds which features and tokens, and how what they find is put together."""
