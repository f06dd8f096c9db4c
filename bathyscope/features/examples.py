"""Which windows of text are shown for a feature: its peaks, each tenth of its range, near misses, silent text.

Works on a block of features whose firings are all known, so intervals are exact and samples are uniform. Only token
offsets and values are kept; text is cut from stored ids when it is read.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from bathyscope.features.corpus import Corpus
from bathyscope.features.draws import random_bits
from bathyscope.features.postings import Block
from bathyscope.features.settings import IndexSettings
from bathyscope.features.statistics import N_BINS, Statistics
from bathyscope.features.windows import Windows, around_firings, firings_within, window_values

TENTHS = tuple(f"tenth-{i}" for i in range(10, 0, -1))
GROUPS = ("top", *TENTHS, "near-miss", "silent")
"""Groups in the order in which they are stored."""
_SILENT_SALT = 0x51
_TRIES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Examples:
    """Chosen windows, sorted by feature, group and rank."""

    windows: Windows
    ranks: Int[np.ndarray, " E"]
    """Place within feature and group, from 0."""
    values: Float[np.ndarray, " W"]
    """The feature's value at every token of every window, one window after the other; 0 where masked."""
    offsets: Int[np.ndarray, " E1"]
    """Where each window begins in `values`."""


def choose_examples(
    block: Block,
    figures: Statistics,
    near: tuple[Float[np.ndarray, "F n"], Int[np.ndarray, "F n"]],
    *,
    corpus: Corpus,
    settings: IndexSettings,
) -> Examples:
    """The windows to show for every feature of `block`; `near` holds values and rows of its near-miss candidates.

    Within a feature and group no two windows share a token or have the same token sequence. At most `per_document`
    come from one document among the top examples and the near misses, which are ranked by value; the drawn groups
    have no such rule, it would bias them.
    """
    ranked = Windows.join([_top(block, figures, corpus, settings), _near(block, near, corpus, settings)])
    drawn = Windows.join([_tenths(block, figures, corpus, settings), _silent(block, corpus, settings)])
    parts, ranks = list[Windows](), list[np.ndarray]()
    for candidates, per_document in ((ranked, settings.per_document), (drawn, None)):
        chosen, rank = _distinct(candidates, corpus, settings=settings, per_document=per_document)
        parts.append(candidates.take(chosen))
        ranks.append(rank)
    windows, rank = Windows.join(parts), np.concatenate(ranks)
    order = np.lexsort((rank, windows.groups, windows.features))
    windows = windows.take(order)
    values, offsets = window_values(block, windows, corpus)
    return Examples(windows=windows, ranks=rank[order], values=values, offsets=offsets)


def _top(block: Block, figures: Statistics, corpus: Corpus, settings: IndexSettings) -> Windows:
    """The highest firing of each tile, highest first: neighbours of a peak are no examples of their own."""
    places = np.empty(len(block.rows), dtype=np.int64)
    places[figures.by_value] = np.arange(len(places))
    starts = np.flatnonzero(np.diff(_tile_keys(block, corpus), prepend=-1))
    peaks = np.minimum.reduceat(places, starts) if len(starts) else starts
    firings, groups = figures.by_value[np.sort(peaks)], np.full(len(peaks), GROUPS.index("top"))
    return around_firings(block, firings, groups, corpus=corpus, settings=settings)


def _tenths(block: Block, figures: Statistics, corpus: Corpus, settings: IndexSettings) -> Windows:
    """Firings of each tenth of (0, max] in a random order, more than are wanted because some may coincide."""
    group = GROUPS.index(TENTHS[-1]) - figures.bins * len(TENTHS) // N_BINS
    bits = random_bits(settings.seed, block.features + block.first, block.rows)
    order = np.lexsort((bits, group, block.features))
    key = (block.features * len(GROUPS) + group)[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    place = np.arange(len(key)) - np.repeat(first, np.diff(np.append(first, len(key))))
    order = order[place < 8 * settings.per_tenth]
    return around_firings(block, order, group[order], corpus=corpus, settings=settings)


def _near(
    block: Block,
    near: tuple[Float[np.ndarray, "F n"], Int[np.ndarray, "F n"]],
    corpus: Corpus,
    settings: IndexSettings,
) -> Windows:
    """Near misses in windows without any firing: around the token where that holds, otherwise its tile."""
    values, candidates = near
    features, place = np.nonzero(np.isfinite(values))
    rows = candidates[features, place]
    starts, stops = corpus.windows(corpus.row_tokens[rows], before=settings.window_before, length=settings.window)
    found = Windows(
        features=features,
        groups=np.full(len(rows), GROUPS.index("near-miss")),
        tokens=corpus.row_tokens[rows],
        starts=starts,
        stops=stops,
        values=values[features, place],
    )
    first, last = firings_within(block, found, corpus)
    disturbed, tile = first < last, corpus.row_tiles[rows]
    starts[disturbed] = corpus.tile_starts[tile[disturbed]]
    stops[disturbed] = corpus.tile_stops[tile[disturbed]]
    return found


def _silent(block: Block, corpus: Corpus, settings: IndexSettings) -> Windows:
    """The tiles of tokens drawn uniformly from the tiles in which the feature never fires."""
    tries = 4 * settings.silent + _TRIES if settings.silent else 0
    keys = _tile_keys(block, corpus)
    fired = keys[np.diff(keys, prepend=-1) > 0]
    features = np.repeat(np.arange(block.n_features), tries)
    attempts = np.tile(np.arange(tries), block.n_features)
    bits = random_bits(settings.seed + _SILENT_SALT, features + block.first, attempts)
    rows = (bits % np.uint64(corpus.n_rows)).astype(np.int64)
    silent = ~_contains(fired, features * corpus.n_tiles + corpus.row_tiles[rows])
    features, rows = features[silent], rows[silent]
    lacking = np.flatnonzero(np.bincount(features, minlength=block.n_features) < settings.silent)
    if len(lacking):
        others = ~np.isin(features, lacking)
        more = [_silent_rows(fired, int(f), block.first, corpus, settings) for f in lacking]
        features = np.concatenate([features[others], np.repeat(lacking, [len(rows) for rows in more])])
        rows = np.concatenate([rows[others], *more])
        order = np.argsort(features, kind="stable")
        features, rows = features[order], rows[order]
    tile = corpus.row_tiles[rows]
    return Windows(
        features=features,
        groups=np.full(len(rows), GROUPS.index("silent")),
        tokens=corpus.row_tokens[rows],
        starts=corpus.tile_starts[tile],
        stops=corpus.tile_stops[tile],
        values=np.zeros(len(rows), dtype=np.float32),
    )


def _silent_rows(
    fired: Int[np.ndarray, " T"], feature: int, first: int, corpus: Corpus, settings: IndexSettings
) -> Int[np.ndarray, " R"]:
    """Silent rows of a feature that fires nearly everywhere, in random order: all are looked at."""
    busy = fired[slice(*np.searchsorted(fired, [feature * corpus.n_tiles, (feature + 1) * corpus.n_tiles]))]
    quiet = np.flatnonzero(~np.isin(corpus.row_tiles, busy % corpus.n_tiles))
    bits = random_bits(settings.seed + _SILENT_SALT, np.full(len(quiet), feature + first), quiet)
    return quiet[np.argsort(bits)]


def _distinct(
    candidates: Windows, corpus: Corpus, *, settings: IndexSettings, per_document: int | None
) -> tuple[Int[np.ndarray, " C"], Int[np.ndarray, " C"]]:
    """Numbers and ranks of the candidates to keep: the first of each group that repeat no token, text or document."""
    limits = (settings.top, *[settings.per_tenth] * len(TENTHS), settings.near_misses, settings.silent)
    key = candidates.features * len(GROUPS) + candidates.groups
    order = np.argsort(key, kind="stable")
    edges = np.append(np.flatnonzero(np.diff(key[order], prepend=-1)), len(order))
    chosen, ranks = list[int](), list[int]()
    for first, last in itertools.pairwise(edges):
        limit, taken = limits[candidates.groups[order[first]]], _Taken(corpus, per_document)
        for i in order[first:last]:
            if len(taken.windows) == limit:
                break
            if taken.accept(int(candidates.starts[i]), int(candidates.stops[i])):
                ranks.append(len(taken.windows) - 1)
                chosen.append(int(i))
    return np.array(chosen, dtype=np.int64), np.array(ranks, dtype=np.int64)


class _Taken:
    """Windows of one feature and group that were taken."""

    def __init__(self, corpus: Corpus, per_document: int | None) -> None:
        self.windows: list[tuple[int, int]] = []
        self._corpus, self._per_document = corpus, per_document
        self._texts: set[bytes] = set()
        self._documents: dict[int, int] = {}

    def accept(self, start: int, stop: int) -> bool:
        """Take the window [start, stop) unless it repeats what is there."""
        document = int(self._corpus.documents[start])
        if self._per_document is not None and self._documents.get(document, 0) >= self._per_document:
            return False
        if any(start < b and a < stop for a, b in self.windows):
            return False
        text = self._corpus.tokens[start:stop].tobytes()
        if text in self._texts:
            return False
        self.windows.append((start, stop))
        self._texts.add(text)
        self._documents[document] = self._documents.get(document, 0) + 1
        return True


def _tile_keys(block: Block, corpus: Corpus) -> Int[np.ndarray, " E"]:
    """Feature and tile of each firing in one number, ascending."""
    return block.features * corpus.n_tiles + corpus.row_tiles[block.rows]


def _contains(ordered: Int[np.ndarray, " A"], wanted: Int[np.ndarray, " B"]) -> Bool[np.ndarray, " B"]:
    return np.append(ordered, -1)[np.searchsorted(ordered, wanted)] == wanted
