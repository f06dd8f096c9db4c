"""Laws of inputs: what the model is given, and how likely each of it is."""
