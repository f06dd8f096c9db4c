"""Windows of text around tokens, and a feature's values inside them.

A window is two token offsets; nothing here knows why it is shown.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from bathyscope.features.corpus import Corpus
from bathyscope.features.postings import Block
from bathyscope.features.settings import IndexSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """E windows, each about one token and one feature of a block."""

    features: Int[np.ndarray, " E"]
    """Counted from the block's first feature."""
    groups: Int[np.ndarray, " E"]
    """Index into the caller's list of groups."""
    tokens: Int[np.ndarray, " E"]
    """Offset of the token that the window is about."""
    starts: Int[np.ndarray, " E"]
    stops: Int[np.ndarray, " E"]
    values: Float[np.ndarray, " E"]
    """Value at that token."""

    def take(self, which: Int[np.ndarray, " C"]) -> "Windows":
        """The windows numbered `which`, in that order."""
        return Windows(
            features=self.features[which],
            groups=self.groups[which],
            tokens=self.tokens[which],
            starts=self.starts[which],
            stops=self.stops[which],
            values=self.values[which],
        )

    @staticmethod
    def join(parts: "list[Windows]") -> "Windows":
        """All windows, one part after the other."""
        return Windows(
            features=np.concatenate([part.features for part in parts]),
            groups=np.concatenate([part.groups for part in parts]),
            tokens=np.concatenate([part.tokens for part in parts]),
            starts=np.concatenate([part.starts for part in parts]),
            stops=np.concatenate([part.stops for part in parts]),
            values=np.concatenate([part.values for part in parts]),
        )


def around_firings(
    block: Block,
    firings: Int[np.ndarray, " E"],
    groups: Int[np.ndarray, " E"],
    *,
    corpus: Corpus,
    settings: IndexSettings,
) -> Windows:
    """A window around each of the block's firings numbered `firings`."""
    tokens = corpus.row_tokens[block.rows[firings]]
    starts, stops = corpus.windows(tokens, before=settings.window_before, length=settings.window)
    return Windows(
        features=block.features[firings],
        groups=groups,
        tokens=tokens,
        starts=starts,
        stops=stops,
        values=block.values[firings],
    )


def firings_within(
    block: Block, windows: Windows, corpus: Corpus
) -> tuple[Int[np.ndarray, " E"], Int[np.ndarray, " E"]]:
    """First and last (exclusive) firing of its own feature inside each window, as numbers of the block's firings."""
    width = corpus.n_rows + 1
    firings = block.features * width + block.rows
    first = np.searchsorted(firings, windows.features * width + corpus.rows_before[windows.starts])
    last = np.searchsorted(firings, windows.features * width + corpus.rows_before[windows.stops])
    return first, last


def window_values(
    block: Block, windows: Windows, corpus: Corpus
) -> tuple[Float[np.ndarray, " W"], Int[np.ndarray, " E1"]]:
    """The feature's value at each token of each window (0 where masked), flat, and where each window begins."""
    first, last = firings_within(block, windows, corpus)
    offsets = np.concatenate([[0], np.cumsum(windows.stops - windows.starts)])
    values = np.zeros(offsets[-1], dtype=np.float32)
    counts = last - first
    which = np.repeat(np.arange(len(counts)), counts)
    firing = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts) + first[which]
    token = corpus.row_tokens[block.rows[firing]]
    values[offsets[which] + token - windows.starts[which]] = block.values[firing]
    return values, offsets
