"""Two baselines read off each feature's top windows: the units that its activation lies on, and TF-IDF.

    share of activation   Σ of the activation on the unit's tokens / Σ of all activation, in the top windows
    TF-IDF                occurrences in the top windows · log(windows / windows with the unit)

Top windows are the windows of highest peak, at most `PER_DOCUMENT` of a document.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from bathyscope.explanations.reading import Reading
from bathyscope.features.postings import Block

TOP_WINDOWS = 20
PER_DOCUMENT = 3
_MULTIPLE = 64


class RankedUnits(NamedTuple):
    """Units of F features, best first; −1 and 0 where a feature has fewer."""

    units: Int[np.ndarray, "F n"]
    scores: Float[np.ndarray, "F n"]


def context_units(reading: Reading, *, n: int) -> RankedUnits:
    """The `n` units with the largest share of each feature's activation in its top windows."""
    row_units, parts = reading.units.of_token[reading.corpus.row_tokens], list[RankedUnits]()
    for block, features, tiles in _top(reading):
        key = features * reading.corpus.n_tiles + tiles
        inside = np.isin(block.features * reading.corpus.n_tiles + reading.corpus.row_tiles[block.rows], key)
        units, values = row_units[block.rows[inside]], block.values[inside].astype(np.float64)
        own = block.features[inside]
        total = np.bincount(own, values, minlength=block.n_features)
        parts.append(_ranked(own, units, values / total[own], n_features=block.n_features, n=n))
    return _joined(parts)


def tf_idf_units(reading: Reading, *, n: int) -> RankedUnits:
    """The `n` units of highest TF-IDF in each feature's top windows."""
    corpus, of_token, n_units = reading.corpus, reading.units.of_token, len(reading.units.names)
    tile_of_token = np.repeat(np.arange(corpus.n_tiles), corpus.tile_stops - corpus.tile_starts)
    pairs = np.unique(tile_of_token[of_token >= 0] * np.int64(n_units) + of_token[of_token >= 0])
    idf = np.log(corpus.n_tiles / np.maximum(np.bincount(pairs % n_units, minlength=n_units), 1))
    parts = list[RankedUnits]()
    for block, features, tiles in _top(reading):
        lengths = corpus.tile_stops[tiles] - corpus.tile_starts[tiles]
        inside = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        units = of_token[np.repeat(corpus.tile_starts[tiles], lengths) + inside]
        own = np.repeat(features, lengths)
        parts.append(_ranked(own, units, idf[units], n_features=block.n_features, n=n))
    return _joined(parts)


def top_windows(block: Block, reading: Reading) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """Features (counted from the block's first) and their top windows, by feature, then falling peak."""
    corpus = reading.corpus
    tiles = corpus.row_tiles[block.rows].astype(np.int64)
    first = np.flatnonzero(np.diff(block.features * corpus.n_tiles + tiles, prepend=-1))
    if len(first) == 0:
        return first, first
    peaks = np.maximum.reduceat(block.values, first)
    features, tiles = block.features[first], tiles[first]
    order = np.lexsort((tiles, -peaks, features))
    features, tiles = features[order], tiles[order]
    documents = corpus.documents[corpus.tile_starts[tiles]].astype(np.int64)
    kept = place_among_equals(features * (int(documents.max()) + 1) + documents) < PER_DOCUMENT
    features, tiles = features[kept], tiles[kept]
    kept = place_among_equals(features) < TOP_WINDOWS
    return features[kept], tiles[kept]


def _top(reading: Reading) -> Iterator[tuple[Block, Int[np.ndarray, " E"], Int[np.ndarray, " E"]]]:
    for block in reading.postings.blocks(multiple=_MULTIPLE):
        yield block, *top_windows(block, reading)


def place_among_equals(keys: Int[np.ndarray, " E"]) -> Int[np.ndarray, " E"]:
    """How many equal keys stand before each."""
    order = np.argsort(keys, kind="stable")
    first = np.flatnonzero(np.diff(keys[order], prepend=-1))
    run = np.repeat(first, np.diff(np.append(first, len(keys))))
    place = np.empty(len(keys), dtype=np.int64)
    place[order] = np.arange(len(keys)) - run
    return place


def _ranked(
    features: Int[np.ndarray, " E"], units: Int[np.ndarray, " E"], weights: Float[np.ndarray, " E"],
    *, n_features: int, n: int,
) -> RankedUnits:  # fmt: skip
    """Sums of weights by feature and unit, and the `n` largest of each feature; ties to the more frequent unit."""
    real = units >= 0
    width = int(units.max(initial=0)) + 1
    keys, place = np.unique(features[real].astype(np.int64) * width + units[real], return_inverse=True)
    sums = np.bincount(place, weights[real], minlength=len(keys))
    order = np.lexsort((keys % width, -sums, keys // width))
    own, unit, total = keys[order] // width, keys[order] % width, sums[order]
    rank = place_among_equals(own)
    found = RankedUnits(np.full((n_features, n), -1, dtype=np.int32), np.zeros((n_features, n)))
    kept = rank < n
    found.units[own[kept], rank[kept]] = unit[kept]
    found.scores[own[kept], rank[kept]] = total[kept]
    return found


def _joined(parts: list[RankedUnits]) -> RankedUnits:
    return RankedUnits(*(np.concatenate(part) for part in zip(*parts, strict=True)))
