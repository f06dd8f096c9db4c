"""Open a Hugging Face model and read or replace activations at a hookpoint."""
