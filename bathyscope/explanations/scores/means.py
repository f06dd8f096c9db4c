"""Means over features of figures that come from sums over documents, with intervals from resampling documents."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np

from bathyscope.evaluation.intervals import Interval, bootstrap

Figure = Callable[[Sequence[np.ndarray]], np.ndarray]
"""From totals [..., F, …] of each table to a figure [..., F] of every feature; NaN where it has none."""


def mean_over_features(sums: Sequence[np.ndarray], figure: Figure, *, seed: int, n_resamples: int) -> Interval:
    """The mean over features, of tables [G, F, …] of documents by features; every table is resampled alike.

    NaN where no feature has the figure; the ends are infinite where a resample has none.
    """
    shapes = [table.shape[1:] for table in sums]
    statistic = functools.partial(_mean, shapes=shapes, figure=figure)
    flat = np.concatenate([table.reshape(len(table), -1) for table in sums], axis=1)
    found = bootstrap(flat, statistic, seed=seed, n_resamples=n_resamples)
    if np.isnan(found.low):  # some resample has no feature with a figure: nothing is known of the spread
        return dataclasses.replace(found, low=-np.inf, high=np.inf)
    return found


def _mean(totals: np.ndarray, *, shapes: Sequence[tuple[int, ...]], figure: Figure) -> np.ndarray:
    edges = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]
    parts = np.split(totals, edges, axis=-1)
    shaped = [part.reshape(*part.shape[:-1], *shape) for part, shape in zip(parts, shapes, strict=True)]
    figures = figure(shaped)
    known = ~np.isnan(figures)
    n = known.sum(-1)
    return np.asarray(np.where(n > 0, np.where(known, figures, 0).sum(-1) / np.maximum(n, 1), np.nan))
