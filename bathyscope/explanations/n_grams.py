"""A baseline of patterns: the shortest runs of tokens after which a feature nearly always fires.

    precision(g) = firings on the last token of g / occurrences of g          reach(g) = firings on it / all firings

After N2G (Foote et al. 2023, arXiv 2305.19911), without a model: there tokens are dropped from the left of an example
while the feature keeps firing; here all runs of one to three tokens of the text are counted, and a run is dropped when
one of its own endings is precise enough. What is left is ordered by reach.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bathyscope.explanations.contexts import place_among_equals
from bathyscope.explanations.reading import Reading
from bathyscope.features.corpus import Corpus
from bathyscope.features.postings import Block

LONGEST = 3
"""Tokens of the longest run."""
PRECISE = 0.5
"""Share of occurrences on which the feature must fire."""
MIN_FIRINGS = 5
_MULTIPLE = 64


class RankedRuns(NamedTuple):
    """Runs of tokens of F features, of largest reach first; −1 and 0 where a feature has fewer."""

    last: Int[np.ndarray, "F n"]
    """Offset in the text of the last token of one occurrence."""
    lengths: Int[np.ndarray, "F n"]
    """Tokens of the run."""
    precision: Float[np.ndarray, "F n"]
    reach: Float[np.ndarray, "F n"]
    """Share of the feature's firings that this run, and no shorter one, announces."""


def run_patterns(reading: Reading, *, n: int) -> RankedRuns:
    """The `n` patterns of largest reach of every feature."""
    ids = runs_of(reading.corpus)
    parts = [_patterns(block, ids, n=n) for block in reading.postings.blocks(multiple=_MULTIPLE)]
    found = RankedRuns(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    last = np.where(found.last >= 0, reading.corpus.row_tokens[found.last], -1)
    return found._replace(last=last)


def runs_of(corpus: Corpus) -> list[Int[np.ndarray, " N"]]:
    """For each length 1, 2, … the number of the run that ends on each row; −1 where the segment is too short.

    Equal runs have equal numbers.
    """
    tokens = corpus.tokens.astype(np.int64)
    width, starts = int(tokens.max()) + 1, np.zeros(len(tokens), dtype=bool)
    starts[corpus.segments[:-1]] = True
    ids, found = tokens, [tokens[corpus.row_tokens]]
    for _ in range(1, LONGEST):
        before = np.where(starts, -1, np.roll(ids, 1))
        keys = np.where(before >= 0, before * width + tokens, -1)
        ids = np.unique(keys, return_inverse=True)[1] - int((keys < 0).any())
        found.append(ids[corpus.row_tokens])
    return found


def _patterns(block: Block, ids: list[Int[np.ndarray, " N"]], *, n: int) -> RankedRuns:
    """The patterns of a block; `last` counts rows."""
    chosen = np.zeros(len(block.rows), dtype=np.int64)
    precision, key = np.zeros(len(block.rows)), np.full(len(block.rows), -1, dtype=np.int64)
    for length, of_row in enumerate(ids, start=1):
        run = of_row[block.rows]
        pair = block.features * (np.int64(of_row.max()) + 1) + run
        _, place, joint = np.unique(pair, return_inverse=True, return_counts=True)
        share = joint[place] / np.maximum(np.bincount(of_row[of_row >= 0])[np.maximum(run, 0)], 1)
        new = (chosen == 0) & (run >= 0) & (joint[place] >= MIN_FIRINGS) & (share >= PRECISE)
        chosen[new], precision[new], key[new] = length, share[new], run[new]
    return _by_reach(block, chosen, precision, key, n=n)


def _by_reach(
    block: Block, lengths: Int[np.ndarray, " E"], precision: Float[np.ndarray, " E"], runs: Int[np.ndarray, " E"],
    *, n: int,
) -> RankedRuns:  # fmt: skip
    """Firings that share feature, length and run, counted and ranked."""
    own = np.flatnonzero(lengths)
    key = np.stack([block.features[own], lengths[own], runs[own]])
    _, first, counts = np.unique(key, axis=1, return_index=True, return_counts=True)
    firing = own[first]
    order = np.lexsort((block.rows[firing], -counts, block.features[firing]))
    firing, reach = firing[order], counts[order] / block.counts[block.features[firing[order]]]
    rank = place_among_equals(block.features[firing])
    firing, reach, rank = firing[rank < n], reach[rank < n], rank[rank < n]
    shape, at = (block.n_features, n), (block.features[firing], rank)
    found = RankedRuns(np.full(shape, -1), np.zeros(shape, dtype=np.int64), np.zeros(shape), np.zeros(shape))
    found.last[at], found.lengths[at] = block.rows[firing], lengths[firing]
    found.precision[at], found.reach[at] = precision[firing], reach
    return found
