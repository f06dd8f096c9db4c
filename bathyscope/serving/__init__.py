"""Answer requests over HTTP from a model that each request may steer in its own way."""
