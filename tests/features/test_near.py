"""Near misses against a plain search through all tiles."""

import itertools

import numpy as np
import pytest
import torch

from bathyscope.features.near import NearMisses, tile_maxima

TILES = np.repeat(np.arange(12), [5, 1, 8, 8, 3, 8, 8, 2, 8, 8, 4, 7])


def expected(pre_NF: torch.Tensor, *, n: int, minimum: float) -> list[list[tuple[float, int]]]:
    found = []
    for f in range(pre_NF.shape[1]):
        best = []
        for tile in range(12):
            rows = np.flatnonzero(tile == TILES)
            values = pre_NF[rows, f].numpy()
            if values.max() <= 0 + GATE and values.max() > minimum:
                best.append((-float(values.max()), int(rows[values.argmax()])))
        found.append([(-value, row) for value, row in sorted(best)[:n]])
    return found


GATE = 2.0


@pytest.fixture
def pre_NF() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).integers(-8, 10, (70, 9)) / 4.0).float()


def taken(pre_NF: torch.Tensor, edges: list[int], *, n: int, minimum: float) -> list[list[tuple[float, int]]]:
    near = NearMisses(pre_NF.shape[1], n, minimum=minimum)
    for start, stop in itertools.pairwise(edges):
        pre = pre_NF[start:stop]
        fires = pre > GATE
        indices = torch.arange(pre.shape[1]).expand_as(pre)
        near.update(pre, fires, indices, TILES[start:stop], first_row=start)
    pairs = zip(near.values.tolist(), near.rows.tolist(), strict=True)
    return [[(v, r) for v, r in zip(values, rows, strict=True) if v > -np.inf] for values, rows in pairs]


@pytest.mark.parametrize("minimum", [-np.inf, 1.5])
@pytest.mark.parametrize("edges", [[0, 70], [0, 5, 6, 14, 22, 25, 33, 41, 43, 51, 59, 63, 70], [0, 22, 70]])
def test_the_best_silent_tiles_are_found_whatever_the_batches(pre_NF, edges, minimum):
    found = taken(pre_NF, edges, n=4, minimum=minimum)
    assert found == expected(pre_NF, n=4, minimum=minimum)
    assert any(0 < len(own) < 4 for own in found) or minimum < 0


def test_no_near_misses_are_kept_when_none_are_wanted(pre_NF):
    assert taken(pre_NF, [0, 70], n=0, minimum=0.0) == [[]] * 9


def test_the_quick_maxima_are_the_plain_ones(pre_NF):
    starts = np.flatnonzero(np.diff(TILES, prepend=-1))
    stops = np.append(starts[1:], 70)
    plain = torch.stack([pre_NF[a:b].amax(0) for a, b in zip(starts, stops, strict=True)])
    assert torch.equal(tile_maxima(pre_NF, starts, stops), plain)
