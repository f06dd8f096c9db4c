"""Experiments that put rooms together: directions are learnt, tried on the model, and what comes of it is judged."""
