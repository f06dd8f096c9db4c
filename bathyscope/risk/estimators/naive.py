"""`Naive`: the share of hits among independent inputs. Unbiased; blind below about one over the budget."""

import math
from dataclasses import dataclass

import torch

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.one_pass import ScorePass
from bathyscope.risk.look import Look, Seen
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
        return ScorePass(self, look, generator)

    def of_scores(self, seen: Seen, *, is_smooth: bool, level: float, seed: int) -> Figures:
        """The share of hits; of drawn outputs the mean value. Draws nothing."""
        n, hits_M = len(seen.value_N), seen.value_N[seen.value_N > 0]
        if is_smooth:
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
        return share_of_hits(len(hits_M), n, level=level)


def share_of_hits(n_hits: int, n: int, *, level: float, flags: tuple[Flag, ...] = ()) -> Figures:
    """`n_hits / n` with its exact interval and these flags, and `no_hits` where there is none."""
    low, high = clopper_pearson(n_hits, n, level=level)
    return Figures(
        log_p=math.log(n_hits / n) if n_hits else -math.inf,
        log_low=math.log(low) if low else -math.inf,
        log_high=math.log(high),
        n_hits=n_hits,
        flags=flags if n_hits else (*flags, "no_hits"),
    )
