"""What a world is like: how many features, how often they fire, how they depend on each other, how crowded they are."""

from dataclasses import dataclass
from typing import Literal

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class WorldSettings:
    """A world of known features. The defaults are the reference world of `bathyscope bench recovery`."""

    n_true: int = 1024
    """Number of true features."""
    d_model: int = 384
    """Width of the activations; n_true / d_model is the degree of superposition."""
    law: Literal["fitted", "forest"] = "fitted"
    """fitted: frequencies are Zipfian and trees are made to fit them; forest: trees first, see `forest.py`."""
    l0: float | None = 25.0
    """Mean number of true features that fire at once (manifolds come on top); None with `forest`, where it follows."""
    zipf: float = 0.5
    """Exponent of the frequencies: the feature of rank r fires in proportion to r^-zipf."""
    max_frequency: float = 0.4
    """Highest share of tokens in which a feature fires."""
    min_frequency: float = 0.0
    """Lowest share; rarer features are raised to it and the others lowered, so that l0 holds."""
    n_roots: int = 32
    """Features that begin a tree of the hierarchy, the most frequent ones; 0 for no hierarchy. Others may be alone."""
    branching: int = 8
    """Most children of a feature."""
    depth: int = 2
    """Generations below a root."""
    exclusive: bool = True
    """Whether at most one child of a feature fires at a time."""
    scale_children: bool = True
    """Whether a child's amount grows with its parent's, in proportion."""
    correlation_rank: int = 16
    """Number of hidden causes that make features fire together; 0 for independent ones."""
    correlation: float = 0.1
    """Standard deviation of a feature's weight on each hidden cause (Gaussian copula)."""
    amount_first: float = 5.0
    """Mean amount of the most frequent feature when it fires."""
    amount_last: float = 4.0
    """Mean amount of the rarest feature; linear in the rank between the two."""
    amount_spread: float = 0.5
    """Features have standard deviations |N(spread, spread)| of their amounts; amounts are never negative."""
    orthogonal_steps: int = 50
    """Steps that push the directions apart; 0 leaves them random."""
    n_manifolds: int = 0
    """Concepts that lie on a circle instead of a line: cos θ · u + sin θ · v with θ uniform."""
    manifold_frequency: float = 0.05
    """Share of tokens in which each of them fires."""
    offset: float = 0.5
    """Length of the constant offset."""
    noise: float = 0.0
    """Standard deviation of Gaussian noise on each of the d_model entries."""

    def __post_init__(self) -> None:
        if self.n_true < 1 or self.d_model < 2:
            raise ConfigError(f"a world needs n_true ≥ 1 and d_model ≥ 2, found {self.n_true} and {self.d_model}")
        if not 0 < self.min_frequency + self.max_frequency <= 1 or self.min_frequency > self.max_frequency:
            raise ConfigError(
                f"frequencies from {self.min_frequency} to {self.max_frequency}: expected shares, the lowest first"
            )
        if (self.l0 is None) != (self.law == "forest"):
            remedy = "give l0" if self.l0 is None else "set l0 to None, it follows from the frequencies"
            raise ConfigError(f"the law {self.law!r} does not go with l0 = {self.l0}: {remedy}")
        if self.l0 is not None and not self.n_true * self.min_frequency < self.l0 <= self.n_true * self.max_frequency:
            raise ConfigError(
                f"{self.n_true} features that fire in {self.min_frequency} to {self.max_frequency} of the tokens "
                f"cannot give l0 = {self.l0}: change l0, n_true or the frequencies"
            )
        if not 0 <= self.n_roots <= self.n_true or self.branching < 1 or self.depth < 0:
            raise ConfigError("the hierarchy needs 0 ≤ n_roots ≤ n_true, branching ≥ 1 and depth ≥ 0")
        if self.correlation_rank < 0 or self.correlation_rank * self.correlation**2 > 0.8:
            raise ConfigError(
                f"correlation_rank · correlation² is {self.correlation_rank * self.correlation**2:.2f}: "
                "at most 0.8 of a feature can come from hidden causes"
            )
        if min(self.noise, self.offset, self.amount_spread, self.n_manifolds, self.orthogonal_steps) < 0:
            raise ConfigError("noise, offset, amount_spread, n_manifolds and orthogonal_steps cannot be negative")


REFERENCE = WorldSettings()
"""1,024 features in 384 dimensions (2.7×), 25 at once, Zipf, hidden causes, trees: seconds to minutes on a laptop."""

CROWDED = WorldSettings(d_model=256)
"""1,024 features in 256 dimensions with 25 at once: so crowded that no linear readout separates them well."""

SMALL = WorldSettings(n_true=64, d_model=32, l0=3.0, n_roots=8, branching=2, depth=1, correlation_rank=4)
"""For tests: 64 features in 32 dimensions."""

SYNTH_SAE_BENCH_16K = WorldSettings(
    n_true=16_384,
    d_model=768,
    law="forest",
    l0=None,
    min_frequency=5e-4,
    n_roots=128,
    branching=4,
    depth=3,
    correlation_rank=25,
    orthogonal_steps=100,
)
"""The setting of SynthSAEBench-16k (arXiv 2602.14687), generated anew: same laws, other random draws."""

WORLDS = {"reference": REFERENCE, "crowded": CROWDED, "small": SMALL, "synthsaebench-16k": SYNTH_SAE_BENCH_16K}
"""Worlds by name."""
