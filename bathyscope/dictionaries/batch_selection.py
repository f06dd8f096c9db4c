"""What the kinds that select over a batch have in common: their settings, how many codes are kept, how they learn.

Knows nothing of how codes are made.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from bathyscope.dictionaries.schedule import Optimisation, gentler, ramp
from bathyscope.dictionaries.start import BiasStart
from bathyscope.errors import ConfigError


@runtime_checkable
class Selection(Protocol):
    """Settings of any kind that selects over a batch."""

    @property
    def n_features(self) -> int:
        """F, number of features."""
        ...

    @property
    def k(self) -> int:
        """Mean number of active features per token."""
        ...

    @property
    def k_start(self) -> int | None:
        """The same at the start of the run."""
        ...

    @property
    def k_anneal(self) -> float:
        """Share of the run over which k_start falls to k."""
        ...

    @property
    def k_aux(self) -> int | None:
        """Dead features that guess the residual."""
        ...

    @property
    def aux_coefficient(self) -> float:
        """Weight of the auxiliary loss."""
        ...

    @property
    def dead_after_tokens(self) -> int:
        """Tokens of silence after which a feature counts as dead."""
        ...

    @property
    def threshold_rate(self) -> float:
        """Share of the newest batch in the running threshold."""
        ...

    @property
    def bias_start(self) -> BiasStart:
        """Where `b_pre` begins."""
        ...


class Prefixes(NamedTuple):
    """Nested sets of the first features, each of which is to reconstruct alone."""

    sizes: Sequence[int]
    """Number of features of each, rising; the last is F."""
    weights: Sequence[float]
    """Weight of each one's error; their sum is 1."""


def check_selection(kind: Selection) -> None:
    """Raise ConfigError for settings that make no sense."""
    if kind.n_features <= 0:
        raise ConfigError(f"n_features is {kind.n_features}: expected a positive number")
    if not 0 < kind.k <= kind.n_features:
        raise ConfigError(f"k is {kind.k}: expected 1 to n_features = {kind.n_features}")
    if kind.k_start is not None and not kind.k <= kind.k_start <= kind.n_features:
        raise ConfigError(
            f"k_start is {kind.k_start}: expected k = {kind.k} to n_features = {kind.n_features}, or None"
        )
    if not 0 <= kind.k_anneal <= 1 or (kind.k_anneal > 0) != (kind.k_start is not None):
        raise ConfigError(
            f"k_anneal is {kind.k_anneal} and k_start {kind.k_start}: expected a share of the run with a k_start, or 0"
        )
    if kind.k_aux is not None and kind.k_aux <= 0:
        raise ConfigError(f"k_aux is {kind.k_aux}: expected a positive number, or None for the default")
    if not 0 <= kind.aux_coefficient < math.inf:
        raise ConfigError(f"aux_coefficient is {kind.aux_coefficient}: expected 0 or a positive number")
    if kind.dead_after_tokens <= 0:
        raise ConfigError(f"dead_after_tokens is {kind.dead_after_tokens}: expected a positive number of tokens")
    if not 0 < kind.threshold_rate <= 1:
        raise ConfigError(f"threshold_rate is {kind.threshold_rate}: expected a share above 0, at most 1")


def selection_optimisation(kind: Selection, d_model: int) -> Optimisation:
    """A high rate that falls over most of the run: what short runs (under 10 million tokens) gain most from."""
    lr = gentler(2.5e-3, n_features=kind.n_features, d_model=d_model)
    return Optimisation(lr=lr, warm_up=0.02, decay=0.8)


def k_at(kind: Selection, progress: float) -> float:
    """Mean number of active features at `progress` of the run."""
    if kind.k_start is None:
        return float(kind.k)
    return kind.k_start + (kind.k - kind.k_start) * ramp(progress, kind.k_anneal)
