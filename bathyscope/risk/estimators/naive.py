"""`Naive`: the share of hits among independent inputs. Unbiased; blind below about one over the budget."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.one_pass import ScorePass
from bathyscope.risk.look import Look, Seen, concatenated
from bathyscope.risk.tails import clopper_pearson, weighed
from bathyscope.risk.written_look import WrittenLook


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
        """Start on inputs."""
        return ScorePass(self, look, generator)

    def begin_written(self, look: WrittenLook, generator: torch.Generator) -> Run:
        """Start on written texts."""
        return _Reading(look, generator)

    def of_scores(self, seen: Seen, *, is_smooth: bool, level: float, seed: int) -> Figures:
        """The share of hits; of drawn outputs the mean of their probabilities. Draws nothing."""
        return figures_of(seen, is_smooth=is_smooth, level=level)


class _Reading:
    """Texts, written and judged a batch at a time."""

    def __init__(self, look: WrittenLook, generator: torch.Generator) -> None:
        self._look, self._generator = look, generator
        self._seen: list[Seen] = []

    def step(self) -> bool:
        """One batch."""
        n = min(self._look.batch_size, self._look.room())
        if n == 0:
            return False
        written = self._look.write(n, self._generator)
        self._seen.append(self._look.judge(written, written.log_p_N))
        return True

    def figures(self, level: float) -> Figures:
        """The share of hits so far, or the mean of probabilities."""
        return figures_of(concatenated(self._seen), is_smooth=self._look.problem.event.is_smooth, level=level)


def figures_of(seen: Seen, *, is_smooth: bool, level: float) -> Figures:
    """What independent rows say."""
    if is_smooth:
        return mean_of_probabilities(seen.score_N, level=level)
    return share_of_hits(int((seen.value_N > 0).sum()), len(seen.value_N), level=level)


def mean_of_probabilities(log_p_N: Float[Tensor, " N"], *, level: float) -> Figures:
    """The mean of probabilities that are given by their logarithms."""
    possible_M = log_p_N[log_p_N > -math.inf]
    mean = weighed(possible_M.numpy(), max(len(log_p_N), 1), level=level)
    return Figures(
        log_p=mean.log_mean,
        log_low=mean.log_low,
        log_high=min(mean.log_high, 0.0),
        n_hits=len(possible_M),
        ess=mean.ess,
        max_weight_share=mean.max_share,
        pareto_k=mean.pareto_k,
    )


def share_of_hits(n_hits: int, n: int, *, level: float, flags: tuple[Flag, ...] = ()) -> Figures:
    """`n_hits / n` with Clopper and Pearson's interval and these flags, and `no_hits` where there is none."""
    low, high = clopper_pearson(n_hits, n, level=level)
    return Figures(
        log_p=math.log(n_hits / n) if n_hits else -math.inf,
        log_low=math.log(low) if low else -math.inf,
        log_high=math.log(high),
        n_hits=n_hits,
        flags=flags if n_hits else (*flags, "no_hits"),
    )
