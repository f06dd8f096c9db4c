"""What the kinds that select over a batch have in common: their settings, and how many codes are kept.

Knows nothing of how codes are made.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from bathyscope.dictionaries.ranges import require_falling_k, require_not_negative, require_positive
from bathyscope.dictionaries.schedule import falling_k
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
    require_positive(kind, "n_features", "k_aux", "dead_after_tokens")
    require_not_negative(kind, "aux_coefficient")
    require_falling_k(kind.k, kind.k_start, kind.k_anneal, kind.n_features)
    if not 0 < kind.threshold_rate <= 1:
        raise ConfigError(f"threshold_rate is {kind.threshold_rate}: expected a share above 0, at most 1")


def k_at(kind: Selection, progress: float) -> float:
    """Mean number of active features at `progress` of the run."""
    return falling_k(kind.k, kind.k_start, kind.k_anneal, kind.n_features, progress=progress)
