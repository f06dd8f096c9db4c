"""`Naive`: the share of hits among independent inputs. Unbiased; blind below about one over the budget."""

import math
from dataclasses import dataclass

import torch

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.look import Look
from bathyscope.risk.tails import clopper_pearson, weighed


@dataclass(frozen=True, slots=True, kw_only=True)
class Naive:
    """p = hits / n, with Clopper and Pearson's interval; for drawn outputs the mean of P(event | input)."""

    @property
    def name(self) -> str:
        """`naive`."""
        return "naive"

    @property
    def needs(self) -> frozenset[Need]:
        """Nothing."""
        return frozenset()

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start."""
        return _Counting(look, generator)


class _Counting:
    def __init__(self, look: Look, generator: torch.Generator) -> None:
        self._look, self._generator = look, generator
        self._values: list[torch.Tensor] = []

    def step(self) -> bool:
        """One batch."""
        n = min(self._look.batch_size, self._look.room())
        if n == 0:
            return False
        rows_NC = draw(self._look.problem.inputs, n, generator=self._generator)
        self._values.append(self._look.at(rows_NC, remember=False).value_N)
        return True

    def figures(self, level: float) -> Figures:
        """The share of hits so far."""
        value_N = torch.cat(self._values) if self._values else torch.zeros(0, dtype=torch.float64)
        n, hits_M = len(value_N), value_N[value_N > 0]
        if self._look.problem.event.is_smooth:
            mean = weighed(hits_M.log().numpy(), max(n, 1), level=level)
            return Figures(
                log_p=mean.log_mean,
                log_low=mean.log_low,
                log_high=min(mean.log_high, 0.0),
                n_hits=n,
                ess=mean.ess,
                max_weight_share=mean.max_share,
                pareto_k=mean.pareto_k,
            )
        low, high = clopper_pearson(len(hits_M), n, level=level)
        flags: tuple[Flag, ...] = () if len(hits_M) else ("no_hits",)
        return Figures(
            log_p=math.log(len(hits_M) / n) if len(hits_M) else -math.inf,
            log_low=math.log(low) if low else -math.inf,
            log_high=math.log(high),
            n_hits=len(hits_M),
            flags=flags,
        )
