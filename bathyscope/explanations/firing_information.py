"""Words by how much their presence tells about a feature's firing: mutual information on text, all features at once.

    n_11 n_10 n_01 n_00     tokens on which the feature fires or not × the unit is within ±radius tokens or not
    score                   their signed mutual information (`information`)

Only units with n_11 ≥ 5 are tested. Significance by circular shifts: the firing pattern of every document is moved
around that document by a random offset, which keeps its bursts and its document and cuts its tie to the words. A
unit's p-value is the share of shifts whose best unit scores as high (Westfall and Young 1993: family-wise over all
units of the feature); features are chosen by Benjamini and Hochberg at their best unit, and inside chosen features
units are held to the same level (Benjamini and Bogomolov 2014), which keeps the expected share of false features low.

The estimator is model-faithful (it says what the feature reads) where words of the decoder's direction say what it
writes. Knows codes and units, nothing of models.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope.dictionaries.kernels.threads import share_rows
from bathyscope.errors import ConfigError
from bathyscope.explanations.kernels.rank import rank
from bathyscope.explanations.presence import Near
from bathyscope.features.postings import Block, Postings

_MULTIPLE = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class FiringInformation:
    """How words are read off the text on which features fire."""

    radius: int = 8
    """Tokens before and after a firing in which a word counts as present."""
    n_units: int = 5000
    """Most frequent words and signs that may be named."""
    min_unit_count: int = 5
    """Fewest occurrences of a word or sign that may be named."""
    min_unit_letters: int = 1
    """Shortest word that may be named."""
    drop_function_words: bool = False
    """Leave out common English function words (`stop_words.txt`)."""
    merge_forms: bool = False
    """Count English -s, -es, -ed and -ing forms as their base form where that occurs, too; before truncation."""
    signs: bool = True
    """Whether tokens without letters (punctuation, digits, line breaks) may be named, too."""
    min_firings: int = 10
    """Fewest firings of a feature that words are read off; of rarer ones it is said that they are."""
    min_joint: int = 5
    """Fewest firings with the word near them; rarer pairs are not tested."""
    n_shifts: int = 39
    """Circular shifts of the firing patterns that p-values come from; their smallest value is 1 / (1 + n_shifts)."""
    false_discovery: float = 0.05
    """Expected share of features named by chance alone."""
    n_tokens: int = 200_000
    """Tokens of explaining documents that are read."""

    def __post_init__(self) -> None:
        if self.radius < 0 or self.n_units < 2:
            raise ConfigError(f"radius is {self.radius} and n_units {self.n_units}, expected at least 0 and 2")
        for name in ("min_unit_count", "min_unit_letters", "min_firings", "min_joint", "n_shifts", "n_tokens"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected at least 1")
        if not 0 < self.false_discovery < 1:
            raise ConfigError(f"false_discovery is {self.false_discovery}, expected between 0 and 1")


class FiringWords(NamedTuple):
    """Ranked units of F features, best first; −1 and 0 where a feature has fewer."""

    units: Int[np.ndarray, "F n"]
    scores: Float[np.ndarray, "F n"]
    """Signed mutual information, in nats per token."""
    joint: Int[np.ndarray, "F n"]
    """n_11: firings with the unit near them."""


def rank_units(
    postings: Postings, near: Near, row_of: Int[np.ndarray, " N"], *, n_units: int, n: int, min_joint: int
) -> FiringWords:
    """The `n` units of highest information for every feature, its firing at row r taken to row `row_of[r]`."""
    present = np.bincount(near.units, minlength=n_units)
    blocks = postings.blocks(multiple=_MULTIPLE)
    parts = [_rank_block(block, near, row_of, present, n=n, min_joint=min_joint) for block in blocks]
    return FiringWords(*(np.concatenate(part) for part in zip(*parts, strict=True)))


def shifted_rows(row_documents: Int[np.ndarray, " N"], *, seed: int) -> Int[np.ndarray, " N"]:
    """Where each row goes when every document's rows are turned by a random offset, at least one where there are two.

    Rows of a document lie together, and the document numbers are 0 … M − 1 in some order.
    """
    first = np.flatnonzero(np.diff(row_documents, prepend=-1))
    length = np.diff(np.append(first, len(row_documents)))
    offset = np.random.default_rng(seed).integers(1, np.maximum(length, 2))
    place = np.arange(len(row_documents)) - np.repeat(first, length)
    return np.repeat(first, length) + (place + np.repeat(offset, length)) % np.repeat(length, length)


def p_values(scores: Float[np.ndarray, "F n"], null_best: Float[np.ndarray, "R F"]) -> Float[np.ndarray, "F n"]:
    """(1 + shifts whose best unit scores at least as high) / (1 + shifts)."""
    reached = np.zeros(scores.shape, dtype=np.int64)
    for best_F in null_best:
        reached += best_F[:, None] >= scores
    return (1 + reached) / (1 + len(null_best))


def discovered(p_FN: Float[np.ndarray, "F n"], *, rate: float) -> Bool[np.ndarray, "F n"]:
    """Which units to believe: Benjamini–Hochberg over features at their best unit, then the same level inside."""
    best = np.sort(p_FN.min(axis=1, initial=1.0))
    level = rate * np.arange(1, len(best) + 1) / max(len(best), 1)
    passing = np.flatnonzero(best <= level)
    return p_FN <= (level[passing[-1]] if len(passing) else -1.0)


def _rank_block(
    block: Block, near: Near, row_of: Int[np.ndarray, " N"], present: Int[np.ndarray, " U"], *, n: int, min_joint: int
) -> FiringWords:
    found = FiringWords(
        units=np.full((block.n_features, n), -1, dtype=np.int32),
        scores=np.zeros((block.n_features, n)),
        joint=np.zeros((block.n_features, n), dtype=np.int32),
    )
    arrays = (block.starts, block.rows, row_of, near.units, near.offsets, present, min_joint, *found)
    share_rows(rank, block.n_features, *arrays)
    return found
