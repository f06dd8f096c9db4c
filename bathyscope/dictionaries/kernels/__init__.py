"""Fast paths of the sparse training step, each beside the plain PyTorch reference that defines it."""
