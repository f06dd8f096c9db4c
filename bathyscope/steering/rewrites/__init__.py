"""What can be done to a request instead of to the model: one way a file, each a value that gives texts."""
