"""Mutual information of two events from counts, with the sign of their association.

p = (n + ½) / (N + 2) for the cells n_11 n_10 n_01 n_00 (Dirichlet prior ½ on each)
I = Σ p log(p / (p_1 · p_2)),  taken negative where the events avoid each other
"""

import numpy as np
from jaxtyping import Float

SMOOTHING = 0.5
"""Prior count of each cell."""


def information(
    n_11: Float[np.ndarray, "*shape"], n_first: Float[np.ndarray, "*shape"], n_second: Float[np.ndarray, "*shape"],
    *, n: int,
) -> Float[np.ndarray, "*shape"]:  # fmt: skip
    """Nats, of events that happen `n_first` and `n_second` times in `n` places and `n_11` times together.

    The definition; `kernels.pairs.pair_information` is the same for one pair, inside compiled loops.
    """
    cells = np.stack([n_11, n_first - n_11, n_second - n_11, n - n_first - n_second + n_11])
    p = (cells + SMOOTHING) / (n + 4 * SMOOTHING)
    first, second = p[0] + p[1], p[0] + p[2]
    apart = np.stack([first * second, first * (1 - second), (1 - first) * second, (1 - first) * (1 - second)])
    return np.sign(p[0] * p[3] - p[1] * p[2]) * (p * np.log(p / apart)).sum(0)
