"""A set of words that together tell most about a feature, chosen one by one.

    Z(V')  at least one unit of V' is in the window            C  the feature fires in the window
    next unit = argmax over candidates of I(C; Z(V' + unit)), until nothing is gained

This is what I(C; V') is taken to be here: the information in one bit that a reader can check, whether any word of the
set is there. It belongs to the set: a word that stands where another already stands adds nothing, so sets are diverse
without a rule for it. (The sum of pointwise terms that Wu et al. 2025 maximise is a sum over words: its best set is
the top of the list, however alike its words are.) Inflected forms of a word already taken, which seldom stand together
and to a reader say the same, are left out by their number of a base form.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt

from bathyscope import progress
from bathyscope.dictionaries.kernels.threads import share_rows
from bathyscope.explanations.kernels.cover import choose
from bathyscope.explanations.presence import as_bits
from bathyscope.features.corpus import Corpus
from bathyscope.features.postings import Postings

_MULTIPLE = 64


class WordSets(NamedTuple):
    """Units of F sets in the order of choice; −1 and 0 where nothing more was gained."""

    units: Int[np.ndarray, "F n"]
    scores: Float[np.ndarray, "F n"]
    """What each unit added to I(C; Z), in nats per window."""


def choose_sets(
    postings: Postings,
    corpus: Corpus,
    bits_UB: UInt[np.ndarray, "U B"],
    candidates_FM: Int[np.ndarray, "F M"],
    base_U: Int[np.ndarray, " U"],
    *,
    n: int,
) -> WordSets:
    """Sets of at most `n` of each feature's candidates (−1: none), no two with the same number in `base_U`."""
    n_features = len(postings.counts)
    found = WordSets(np.full((n_features, n), -1, dtype=np.int32), np.zeros((n_features, n)))
    for block in postings.blocks(multiple=_MULTIPLE):
        own = slice(block.first, block.first + block.n_features)
        fires_FB = as_bits(block.features, corpus.row_tiles[block.rows], shape=(block.n_features, corpus.n_tiles))
        arrays = (fires_FB, bits_UB, candidates_FM[own], base_U, corpus.n_tiles, found.units[own], found.scores[own])
        share_rows(choose, block.n_features, *arrays)
        progress.report("explain: sets", own.stop, n_features, "features")
    return found
