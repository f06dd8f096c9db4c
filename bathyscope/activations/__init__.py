"""Turn text into activations on disk, and read them back shuffled."""
