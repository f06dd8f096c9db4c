"""How much a text repeats itself."""

from collections.abc import Sequence


def repetition(tokens: Sequence[int], *, n: int = 3) -> float:
    """Share of the n-grams of `tokens` that stood there before; 0 for fewer than n tokens."""
    grams = [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else 0.0
