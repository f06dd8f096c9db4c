"""Learn sparse codes from activations."""
