"""How a set of explanations uses its vocabulary, as Wu et al. 2025 measure it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int

N_FREQUENT = 250
SHORT_LETTERS = 4
DOMINANT_SHARE = 0.1


class Usage(NamedTuple):
    """Shares of the whole vocabulary. A word is superficial if it is among the 250 most frequent or shorter than 4."""

    diversity: float
    """Words used by some feature that are not superficial."""
    lexical: float
    """Words used that are superficial."""
    dominate: float
    """Words used by more than a tenth of the features."""


def usage(words: Int[np.ndarray, "F n"], vocabulary: tuple[str, ...]) -> Usage:
    """The figures of features' words, given as numbers in the vocabulary (most frequent word first)."""
    uses = np.bincount(words.ravel(), minlength=len(vocabulary))
    superficial = np.array([i < N_FREQUENT or len(word) < SHORT_LETTERS for i, word in enumerate(vocabulary)])
    return Usage(
        diversity=float(((uses > 0) & ~superficial).mean()),
        lexical=float(((uses > 0) & superficial).mean()),
        dominate=float((uses > DOMINANT_SHARE * len(words)).mean()),
    )
