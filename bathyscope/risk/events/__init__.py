"""Events: what an output is or is not, and how far from it an input stays."""
