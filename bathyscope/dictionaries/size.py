"""How much room a dictionary takes in training, from its sizes alone: for refusals before work, and for plans of it.

Everything is float32. Knows no tensors.
"""

FLOAT_BYTES = 4
MATRICES = 2
"""Encoder and decoder."""
KEPT_COPIES = 3
"""Weights and Adam's two averages."""
BATCH_ROWS = 6
"""[N, D] tensors alive at once in a step: batch, centred batch, residual, its gradient, and what a kernel writes."""
PAIR_BYTES = 40
"""Bytes of one kept pair in a step: value, feature, gradient, and its place in the order by feature."""


def weight_bytes(n_features: int, d_model: int) -> int:
    """Encoder and decoder."""
    return FLOAT_BYTES * MATRICES * n_features * d_model


def kept_bytes(n_features: int, d_model: int) -> int:
    """What one dictionary in training holds from step to step: weights and Adam's averages."""
    return KEPT_COPIES * weight_bytes(n_features, d_model)


def disk_bytes(n_features: int, d_model: int) -> int:
    """Disk room of the weights and of two checkpoints, the old one and the new."""
    return weight_bytes(n_features, d_model) * (1 + 2 * KEPT_COPIES)


def step_bytes(n_features: int, d_model: int, *, k: int, batch_size: int, buffer_bytes: int) -> int:
    """What one step holds besides: gradients of the weights, rows of the batch, pairs, and pre-activations.

    Pre-activations are made in a buffer of at most `buffer_bytes` (at least one row), a piece of the batch at a time.
    """
    pre = min(batch_size * n_features * FLOAT_BYTES, max(buffer_bytes, n_features * FLOAT_BYTES))
    rows = BATCH_ROWS * batch_size * d_model * FLOAT_BYTES
    return weight_bytes(n_features, d_model) + rows + batch_size * k * PAIR_BYTES + pre
