"""The kernels for a GPU, in Triton. Files here import Triton when they are imported: import them inside functions."""
