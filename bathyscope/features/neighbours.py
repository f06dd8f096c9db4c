"""Features next to a feature: those that write in its direction, and those that fire on its tokens.

The two lists answer different questions (what is said, and when); showing both is the point.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.threads import share_rows
from bathyscope.features.kernels.nearest import nearest_in_columns, nearest_in_rows
from bathyscope.features.kernels.together import most_together

CHUNK_COSINES = 1 << 24
"""Cosines held at once (64 MB in float32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The `n` nearest other features of each feature, nearest first; −1 and 0 where there are fewer."""

    features: Int[np.ndarray, "F n"]
    scores: Float[np.ndarray, "F n"]


def decoder_neighbours(W_dec: Float[Tensor, "F D"], *, n: int) -> Neighbours:
    """Nearest by cosine of decoder rows; exact, in chunks. Of equal cosines of a CPU the lower number goes first.

    On a CPU each pair is compared once, and its cosine serves both; elsewhere rows are compared with all others.
    """
    units_FD = torch.nn.functional.normalize(W_dec.detach().float(), dim=1)
    return _compared_once(units_FD, n) if engine(units_FD) == "compiled" else nearest_units(units_FD, n=n)


def nearest_units(units_FD: Float[Tensor, "F D"], *, n: int) -> Neighbours:
    """The same for rows of length 1, in plain PyTorch: the reference."""
    n_features, kept = len(units_FD), min(n, len(units_FD) - 1)
    step = max(1, CHUNK_COSINES // n_features)
    features, scores = _empty(n_features, n)
    for start in range(0, n_features, step):
        cosines = units_FD[start : start + step] @ units_FD.T
        own = torch.arange(start, start + len(cosines), device=cosines.device)
        cosines[own - start, own] = -torch.inf
        best = cosines.topk(kept, dim=1)
        features[start : start + step, :kept] = best.indices.cpu().numpy()
        scores[start : start + step, :kept] = best.values.cpu().numpy()
    return Neighbours(features=features, scores=scores)


def _compared_once(units_FD: Float[Tensor, "F D"], n: int) -> Neighbours:
    """Blocks of cosines right of the diagonal, each looked through by rows and by columns."""
    n_features, start = len(units_FD), 0
    features, scores = np.full((n_features, n), -1, np.int32), np.full((n_features, n), -np.inf, np.float32)
    room = torch.empty(max(CHUNK_COSINES, n_features))
    while start < n_features:
        width = n_features - start
        stop = min(n_features, start + max(1, CHUNK_COSINES // width))
        cosines = room[: (stop - start) * width].view(stop - start, width)
        torch.mm(units_FD[start:stop], units_FD[start:].T, out=cosines)
        arrays = (cosines.numpy(), start, features, scores)
        share_rows(nearest_in_rows, stop - start, *arrays)
        share_rows(nearest_in_columns, n_features - stop, *arrays)
        start = stop
    return Neighbours(features=features, scores=np.where(features < 0, np.float32(0), scores))


def cofiring_neighbours(
    features: Int[np.ndarray, " E"], counts: Int[np.ndarray, " N"], *, n_features: int, n: int
) -> Neighbours:
    """Nearest by phi, the Pearson correlation of firing (1 where a feature fires, else 0) over N tokens.

    phi(f, g) = (N n_fg − n_f n_g) / √(n_f (N − n_f) n_g (N − n_g))

    `features` lists the features that fire on each token, token by token; `counts` says how many those are. Only
    positive correlations are listed; features that always or never fire have none. Ties go to the lower number.
    Time grows with Σ counts², memory with the number of firings: 20 bytes each, and 12 bytes a feature and thread.
    """
    firings = _firings(features, counts, n_features)
    token_starts = np.concatenate([[0], np.cumsum(counts)])
    neighbours, scores = np.full((n_features, n), -1, dtype=np.int32), np.zeros((n_features, n))
    arrays = (firings.starts, firings.tokens, token_starts, np.ascontiguousarray(features), firings.spread)
    share_rows(most_together, n_features, *arrays, neighbours, scores)
    return Neighbours(features=neighbours, scores=scores.astype(np.float32))


def cofiring_neighbours_plain(
    features: Int[np.ndarray, " E"], counts: Int[np.ndarray, " N"], *, n_features: int, n: int
) -> Neighbours:
    """The same in NumPy, passing over all features for each: the reference."""
    firings, total = _firings(features, counts, n_features), len(counts)
    token_starts, n_fires, spread = np.cumsum(counts) - counts, np.diff(firings.starts), firings.spread
    neighbours, scores = _empty(n_features, n)
    for feature in np.flatnonzero(spread):
        shared = firings.tokens[firings.starts[feature] : firings.starts[feature + 1]]
        both = np.bincount(features[_ranges(token_starts[shared], counts[shared])], minlength=n_features)
        both[feature] = 0
        others = np.flatnonzero(both * (spread > 0))
        expected = n_fires[others] * n_fires[feature] / total
        phi = (both[others] - expected) * (total / (spread[feature] * spread[others]))
        best = _largest(phi, n)
        neighbours[feature, : len(best)], scores[feature, : len(best)] = others[best], phi[best]
    return Neighbours(features=neighbours, scores=scores)


@dataclass(frozen=True, slots=True)
class _Firings:
    """The tokens on which each feature fires."""

    starts: Int[np.ndarray, " F1"]
    """Feature f fires on tokens[starts[f] : starts[f + 1]]."""
    tokens: Int[np.ndarray, " E"]
    spread: Float[np.ndarray, " F"]
    """√(n (N − n)): N times the standard deviation of firing."""


def _firings(features: Int[np.ndarray, " E"], counts: Int[np.ndarray, " N"], n_features: int) -> _Firings:
    total = len(counts)
    tokens = np.repeat(np.arange(total, dtype=np.int32), counts)[np.argsort(features, kind="stable")]
    n_fires = np.bincount(features, minlength=n_features)
    starts = np.concatenate([[0], np.cumsum(n_fires)])
    return _Firings(starts, tokens, np.sqrt(n_fires * (total - n_fires.astype(np.float64))))


def _empty(n_features: int, n: int) -> tuple[Int[np.ndarray, "F n"], Float[np.ndarray, "F n"]]:
    return np.full((n_features, n), -1, dtype=np.int32), np.zeros((n_features, n), dtype=np.float32)


def _ranges(starts: Int[np.ndarray, " M"], lengths: Int[np.ndarray, " M"]) -> Int[np.ndarray, " R"]:
    """start, start + 1, … for each range, one range after the other."""
    shift = starts - (np.cumsum(lengths) - lengths)
    return np.repeat(shift, lengths) + np.arange(lengths.sum())


def _largest(scores: Float[np.ndarray, " M"], n: int) -> Int[np.ndarray, " n"]:
    """Places of the `n` largest positive scores, largest first, the first place among equals."""
    places = np.flatnonzero(scores > 0)
    if len(places) > 8 * n:
        bound = np.partition(scores[places], len(places) - n)[len(places) - n]
        places = places[scores[places] >= bound]
    return places[np.argsort(-scores[places], kind="stable")][:n]
