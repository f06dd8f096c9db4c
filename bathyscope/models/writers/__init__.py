"""Language models that are asked for texts, here or behind an address."""
