"""`Perturb`: copies of an instruction with some of their characters changed at random.

The perturbations of SmoothLLM (Robey et al. 2023, arXiv 2310.03684): a prompt that was searched for character by
character breaks when a few characters change, the meaning of an ordinary one does not. Knows nothing of the vote over
the answers.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bathyscope.errors import ConfigError

Way = Literal["swap", "insert", "patch"]
"""New characters in place of drawn ones; behind drawn ones; or in place of as many that stand side by side."""
ALPHABET = "".join(map(chr, range(32, 127)))
"""Where new characters are drawn from: printable ASCII, the space among it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturb:
    """Copies with a share of their characters changed."""

    share: float
    """Share of the characters, above 0 and at most 1; at least one character changes."""
    n_copies: int = 3
    """Copies of each instruction."""
    way: Way = "swap"
    """What is done to the characters."""
    seed: int = 0
    """Seed of places and characters."""

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ConfigError(f"the share of characters to change must be above 0 and at most 1, found {self.share}")
        if self.n_copies < 1 or self.seed < 0:
            raise ConfigError(f"n_copies must be at least 1 and seed at least 0: {self.n_copies}, {self.seed}")

    @property
    def identity(self) -> Mapping[str, str]:
        """All settings."""
        return {
            "rewrite": f"perturb ({self.way})",
            "share": f"{self.share:g}",
            "copies": str(self.n_copies),
            "seed": str(self.seed),
        }

    def texts(self, instruction: str) -> list[str]:
        """`n_copies` copies. Draws depend on the seed, the text and the copy's number, not on the share: a larger share
        changes the characters that a smaller one does in the same way, and more (unless they are patched)."""
        return [self._copy(instruction, number) for number in range(self.n_copies)]

    def _copy(self, text: str, number: int) -> str:
        if not text:
            return text
        digest = hashlib.sha256(text.encode()).digest()
        generator = np.random.default_rng([self.seed, number, int.from_bytes(digest[:8], "big")])
        n_changed = max(1, round(self.share * len(text)))
        drawn = generator.permutation(len(text))[:n_changed].tolist()
        if self.way == "patch":
            first = int(generator.integers(len(text) - n_changed + 1))
            drawn = list(range(first, first + n_changed))
        new = [ALPHABET[i] for i in generator.integers(len(ALPHABET), size=len(text)).tolist()]
        found = list(text)
        for place, character in zip(drawn, new, strict=False):  # as many as there are places
            found[place] = text[place] + character if self.way == "insert" else character
        return "".join(found)
