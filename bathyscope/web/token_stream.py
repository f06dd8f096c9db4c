"""The text behind all example windows, stored once: windows become offsets into one compact stream of tokens.

A dashboard that writes each window's text out again grows with features × examples × length; this one grows with the
corpus at most.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenStream:
    """The covered parts of a token file, joined."""

    ids: NDArray[np.int32]
    """Token ids of the covered parts, in order."""
    span_starts: NDArray[np.int64]
    """First offset of each covered part in the original file."""
    span_offsets: NDArray[np.int64]
    """Where each part begins in `ids`."""

    def place(self, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
        """Original offsets, all inside covered parts, as offsets into `ids`."""
        span = np.searchsorted(self.span_starts, offsets, side="right") - 1
        return offsets - self.span_starts[span] + self.span_offsets[span]


def cover(tokens: NDArray[np.integer], starts: NDArray[np.int64], stops: NDArray[np.int64]) -> TokenStream:
    """The union of the windows [start, stop) of `tokens`; windows that overlap or touch share one part."""
    edges = np.zeros(len(tokens) + 1, np.int64)
    np.add.at(edges, starts, 1)
    np.add.at(edges, stops, -1)
    covered = np.cumsum(edges[:-1]) > 0
    span_starts = np.flatnonzero(covered & ~np.concatenate([[False], covered[:-1]]))
    before = np.concatenate([[0], np.cumsum(covered)])
    return TokenStream(
        ids=np.asarray(tokens)[covered].astype(np.int32),
        span_starts=span_starts.astype(np.int64),
        span_offsets=before[span_starts].astype(np.int64),
    )
