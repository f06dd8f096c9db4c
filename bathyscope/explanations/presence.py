"""Where units of a text are present: around each token with an activation, and in each window.

Windows are the tiles of the corpus (stretches of a fixed number of tokens that never cross a document). Compiled, with
plain references in the tests. Memory: 4 bytes per token and unit near it, one bit per window and unit.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt

from bathyscope.explanations.kernels.presence import distinct, set_bits
from bathyscope.features.corpus import Corpus


class Near(NamedTuple):
    """The distinct units within some tokens of each row: row r has units[offsets[r]:offsets[r + 1]]."""

    units: Int[np.ndarray, " E"]
    offsets: Int[np.ndarray, " N1"]


def units_near(corpus: Corpus, of_token: Int[np.ndarray, " T"], *, radius: int) -> Near:
    """The distinct units of at most `radius` tokens before and after each row's own, inside its segment."""
    segment = np.searchsorted(corpus.segments, corpus.row_tokens, side="right") - 1
    starts = np.maximum(corpus.segments[segment], corpus.row_tokens - radius)
    stops = np.minimum(corpus.segments[segment + 1], corpus.row_tokens + radius + 1)
    units = np.empty(int((stops - starts).sum()), dtype=np.int32)
    offsets = np.zeros(corpus.n_rows + 1, dtype=np.int64)
    distinct(of_token.astype(np.int32), starts, stops, units, offsets)
    return Near(units[: offsets[-1]].copy(), offsets)


def window_bits(corpus: Corpus, of_token: Int[np.ndarray, " T"], *, n_units: int) -> UInt[np.ndarray, "U B"]:
    """One bit per unit and window: whether the unit is in it (units from `n_units` on, and −1, have none)."""
    tile_of_token = np.repeat(np.arange(corpus.n_tiles), corpus.tile_stops - corpus.tile_starts)
    counted = (of_token >= 0) & (of_token < n_units)
    return as_bits(of_token[counted], tile_of_token[counted], shape=(n_units, corpus.n_tiles))


def as_bits(
    rows: Int[np.ndarray, " E"], places: Int[np.ndarray, " E"], *, shape: tuple[int, int]
) -> UInt[np.ndarray, "U B"]:
    """A matrix of bits, 64 to a number, with the given (row, place) pairs set; pairs may repeat."""
    bits = np.zeros((shape[0], -(-shape[1] // 64)), dtype=np.uint64)
    set_bits(rows.astype(np.int64), places.astype(np.int64), bits)
    return bits
