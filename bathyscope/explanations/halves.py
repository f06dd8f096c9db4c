"""Which documents explanations are made from and which they are scored on: two halves that share no document.

Knows document numbers alone. A document falls on the same side in every text, subset and order in which it appears.
"""

import numpy as np
from jaxtyping import Bool, Int

from bathyscope.features.draws import random_bits

_SALT = 0x4A1F


def is_explaining(documents: Int[np.ndarray, " N"], *, seed: int) -> Bool[np.ndarray, " N"]:
    """Whether each document number belongs to the explaining half (about one in two); the others are for scoring."""
    bits = random_bits(seed, documents.astype(np.int64), np.full(len(documents), _SALT))
    return bits < np.uint64(1 << 63)
