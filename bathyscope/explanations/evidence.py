"""How much text stands behind each feature's words, and where it was seen: said by name when it is too little."""

from collections import Counter
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from bathyscope.explanations.contexts import top_windows
from bathyscope.explanations.reading import Reading
from bathyscope.features.layout import lists
from bathyscope.features.postings import Block

EXPLAINED, FEW, SILENT = "explained", "few firings", "silent"
"""What is said of a feature: words are read off its firings; it fires too seldom for that; it never fires there."""
_MULTIPLE = 64


class Evidence(NamedTuple):
    """Of every feature, over the explaining documents."""

    n_firings: Int[np.ndarray, " F"]
    status: list[str]
    top_token: Int[np.ndarray, " F"]
    """Token with the largest share of the feature's activation; −1 for a silent feature."""
    top_share: Float[np.ndarray, " F"]
    window_documents: Int[np.ndarray, " E"]
    """Documents of the top windows of all features, one feature after the other."""
    window_offsets: Int[np.ndarray, " E"]
    """Where in its document each of them begins, in tokens."""
    window_lengths: Int[np.ndarray, " E"]
    """Tokens of each."""
    first_window: Int[np.ndarray, " F1"]
    """Where each feature's windows begin."""

    def counts(self) -> dict[str, int]:
        """Features of each status."""
        return dict(sorted(Counter(self.status).items()))

    def table(self) -> pa.Table:
        """One row per feature."""
        return pa.table(
            {
                "feature": pa.array(np.arange(len(self.status)), pa.int32()),
                "status": self.status,
                "n_firings": pa.array(self.n_firings, pa.int64()),
                "top_token": pa.array(self.top_token, pa.int32()),
                "top_share": pa.array(self.top_share, pa.float64()),
                "window_documents": lists(self.window_documents, self.first_window, pa.int32()),
                "window_offsets": lists(self.window_offsets, self.first_window, pa.int32()),
                "window_lengths": lists(self.window_lengths, self.first_window, pa.int32()),
            }
        )


def read_evidence(reading: Reading, *, min_firings: int) -> Evidence:
    """Counts, top tokens and top windows of every feature."""
    corpus, counts = reading.corpus, reading.postings.counts
    tokens, windows, sizes = list[np.ndarray](), list[np.ndarray](), list[np.ndarray]()
    for block in reading.postings.blocks(multiple=_MULTIPLE):
        tokens.append(np.stack(_top_tokens(block, corpus.tokens[corpus.row_tokens[block.rows]])))
        features, tiles = top_windows(block, reading)
        windows.append(tiles)
        sizes.append(np.bincount(features, minlength=block.n_features))
    tiles, (top, share) = np.concatenate(windows), np.concatenate(tokens, axis=1)
    starts = corpus.tile_starts[tiles]
    begins = np.flatnonzero(np.diff(corpus.documents, prepend=-1))
    document_start = begins[np.searchsorted(begins, starts, side="right") - 1]
    return Evidence(
        n_firings=counts,
        status=[SILENT if n == 0 else FEW if n < min_firings else EXPLAINED for n in counts.tolist()],
        top_token=top.astype(np.int64),
        top_share=share,
        window_documents=corpus.documents[starts].astype(np.int64),
        window_offsets=starts - document_start,
        window_lengths=corpus.tile_stops[tiles] - starts,
        first_window=np.concatenate([[0], np.cumsum(np.concatenate(sizes))]),
    )


def _top_tokens(block: Block, tokens: Int[np.ndarray, " E"]) -> tuple[Float[np.ndarray, " F"], Float[np.ndarray, " F"]]:
    """The token with most of each feature's activation, and its share of it."""
    width = np.int64(tokens.max(initial=0)) + 1
    keys, place = np.unique(block.features * width + tokens, return_inverse=True)
    mass = np.bincount(place, block.values.astype(np.float64), minlength=len(keys))
    order = np.lexsort((keys % width, -mass, keys // width))
    own = keys[order] // width
    first = order[np.flatnonzero(np.diff(own, prepend=-1))]
    total = np.bincount(block.features, block.values.astype(np.float64), minlength=block.n_features)
    top, share = np.full(block.n_features, -1.0), np.zeros(block.n_features)
    feature = keys[first] // width
    top[feature], share[feature] = keys[first] % width, mass[first] / total[feature]
    return top, share
