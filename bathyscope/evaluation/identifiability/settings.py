"""Settings of `identifiability`, and what may be known of the truth."""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentifiabilitySettings:
    """What is learnt, and how it is put to the test."""

    shifts: ShiftSettings = field(default_factory=ShiftSettings)
    """How the dictionary is learnt; the tests learn again at the bound that it ended with."""
    level: float = 0.05
    """Largest expected share of false ones among columns called real."""
    n_draws: int = 2000
    """Random directions that columns are compared with."""
    n_restarts_again: int = 2
    """Restarts of each further learning."""
    n_removals: int = 2
    """Further learnings on pairs of which some were removed."""
    removed: float = 0.1
    """Share of the pairs that is removed each time."""
    controls: bool = True
    """Whether to learn without a bound, and from normally distributed shifts of the same mean and covariance."""
    free_steps: int = 2000
    """Steps of the control without a bound."""
    n_random: int = 20
    """Random encoders that figures against known concepts are compared with."""
    test_seed: int = 0
    """Seed of halves, removals, random encoders and resampling."""

    def __post_init__(self) -> None:
        if not 0 < self.level < 1 or not 0 < self.removed < 1:
            raise ConfigError(f"level is {self.level}, removed {self.removed}: expected shares between 0 and 1")
        if min(self.n_draws, self.n_restarts_again, self.free_steps, self.n_random) < 1 or self.n_removals < 0:
            raise ConfigError(
                "n_draws, n_restarts_again, free_steps and n_random are at least 1, n_removals at least 0"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KnownConcepts:
    """What is known of the concepts of the pairs; each may be missing."""

    names: tuple[str, ...] = ()
    """Names of the concepts."""
    support_PC: Float[Tensor, "P C"] | None = None
    """1 where a concept changes, 0 where it stays, anything else (NaN) where that is not known."""
    changes_PC: Float[Tensor, "P C"] | None = None
    """By how much; only in worlds and templates."""

    def __post_init__(self) -> None:
        shapes = {tuple(each.shape) for each in (self.support_PC, self.changes_PC) if each is not None}
        if len(shapes) > 1:
            raise ConfigError(f"support and changes have different shapes: {' and '.join(map(str, sorted(shapes)))}")

    def require(self, n_pairs: int) -> None:
        """Raise ConfigError when what is known is of another number of pairs."""
        for each in (self.support_PC, self.changes_PC):
            if each is not None and len(each) != n_pairs:
                raise ConfigError(f"{len(each)} rows are known of {n_pairs} pairs: they do not belong together")

    def kept(self, is_kept_P: Tensor) -> "KnownConcepts":
        """The same for some of the pairs."""
        support, changes = (None if each is None else each[is_kept_P] for each in (self.support_PC, self.changes_PC))
        return KnownConcepts(names=self.names, support_PC=support, changes_PC=changes)


def as_support(changes_PC: Float[Tensor, "P C"]) -> Float[Tensor, "P C"]:
    """1 where a change is not 0."""
    return (changes_PC != 0).to(torch.float32)
