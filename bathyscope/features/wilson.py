"""`wilson`: the 95 % interval of a share that was counted, never of zero width.

Source: Wilson (1927, Probable inference, the law of succession, and statistical inference).
"""

import numpy as np
from jaxtyping import Float

Z = 1.959963984540054
"""The 97.5 % quantile of the normal law."""


def wilson(
    p_X: float | Float[np.ndarray, "*X"], n_X: int | Float[np.ndarray, "*X"], z_X: float | Float[np.ndarray, "*X"] = Z
) -> tuple[Float[np.ndarray, "*X"], Float[np.ndarray, "*X"]]:
    """Lower and upper end for a share `p_X` of `n_X` independent cases, within [0, 1] and around the share.

    (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n)
    `z_X` stands for the normal quantile; Student's makes the interval wider.
    """
    middle_X = (p_X + z_X * z_X / (2 * n_X)) / (1 + z_X * z_X / n_X)
    half_X = z_X / (1 + z_X * z_X / n_X) * np.sqrt(p_X * (1 - p_X) / n_X + z_X * z_X / (4 * n_X**2))
    low_X, high_X = np.minimum(middle_X - half_X, p_X), np.maximum(middle_X + half_X, p_X)
    return np.asarray(np.clip(low_X, 0, 1)), np.asarray(np.clip(high_X, 0, 1))
