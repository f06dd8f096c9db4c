"""`Estimate`: a probability with its interval, its cost, what speaks against it, and inputs that show the event."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Flag = Literal[
    "by_hand",  # Ctrl-C ended it
    "center_accepts",  # the mean activation shows the event: it is not rare, and QLD says nothing about it
    "clamped",  # the formula left [0, 1]
    "disagree",  # two ways to the number do not meet within their intervals
    "heavy_tail",  # a few inputs carry the estimate
    "infeasible",  # no activation can show the event
    "interrupted",  # ended before its plan was done: the budget was spent, or a hand was on the keys (`by_hand`)
    "model_bias",  # rests on an assumption that the interval does not cover
    "no_hits",  # nothing that was tried shows the event: the interval's upper end is all that is known
    "not_mixed",  # chains disagree with each other
    "probably_low",  # below what was seen for certain, or another way to the event may have been missed
    "stuck",  # no progress towards the event
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Witness:
    """An input that shows the event."""

    tokens: tuple[int, ...]
    """Token ids."""
    log_p: float
    """Natural logarithm of its probability under the law of inputs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What an estimator knows at some point of its work."""

    log_p: float
    """Natural logarithm of the estimate; minus infinity for 0."""
    log_low: float
    """Natural logarithm of the interval's lower end."""
    log_high: float
    """Natural logarithm of the interval's upper end."""
    n_hits: int = 0
    """Rows seen to show the event, repeated ones counted again."""
    ess: float | None = None
    """Effective number of the hits' weights, (Σw)² / Σw²; None where nothing is weighed."""
    max_weight_share: float | None = None
    """Share of the estimate that its heaviest row carries."""
    pareto_k: float | None = None
    """Shape of the weights' upper tail; above .7 their mean is not to be trusted (Vehtari et al. 2024)."""
    flags: tuple[Flag, ...] = ()
    """What speaks against the number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A probability, how sure it is, and what it cost."""

    problem: str
    """Model, law and event."""
    method: str
    """Name of the estimator."""
    figures: Figures
    """The number and its interval."""
    level: float
    """Nominal probability that the interval covers the truth."""
    cost: Mapping[str, float | int]
    """`forward`, `backward`, `prompt_tokens`, `generated_tokens`, `remembered`, `spent`, `seconds`."""
    seed: int
    """Of every draw."""
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Of the estimator."""
    witnesses: tuple[Witness, ...] = ()
    """Distinct inputs that show the event, likeliest first."""

    @property
    def p(self) -> float:
        """The probability."""
        return math.exp(self.figures.log_p)

    @property
    def log10_p(self) -> float:
        """Its decimal logarithm."""
        return self.figures.log_p / math.log(10)

    @property
    def interval(self) -> tuple[float, float]:
        """Lower and upper end."""
        return math.exp(self.figures.log_low), math.exp(self.figures.log_high)

    @property
    def flags(self) -> tuple[Flag, ...]:
        """What speaks against the number."""
        return self.figures.flags

    def row(self) -> dict[str, Any]:
        """The estimate as one JSON object; infinite logarithms are None."""
        row = asdict(self)
        for name in ("log_p", "log_low", "log_high"):
            if math.isinf(row["figures"][name]):
                row["figures"][name] = None
        return {**row, "p": self.p, "low": self.interval[0], "high": self.interval[1]}

    def __str__(self) -> str:
        low, high = self.interval
        flags = f"  [{', '.join(self.flags)}]" if self.flags else ""
        return (
            f"{self.method}: P({self.problem}) = {self.p:.3g}, {self.level:.0%} interval {low:.2g} to {high:.2g}, "
            f"{self.cost['spent']:,.0f} forwards, {self.cost['seconds']:.1f} s{flags}"
        )
