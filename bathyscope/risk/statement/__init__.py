"""A problem as a file that a person writes: which model, which inputs, which event."""
