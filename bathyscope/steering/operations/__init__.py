"""What can be done to an activation: one operation a file, each a frozen value with a hookpoint and a delta."""
