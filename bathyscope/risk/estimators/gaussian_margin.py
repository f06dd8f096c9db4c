"""`GLD`: the tail of a law fitted to all margins by mean and variance.

    p = P[N(μ, σ²) ≥ 0] = Φ(μ / σ)   (Wu and Hilton 2024, arXiv 2410.13211, Gaussian logit difference)

μ and σ are mean and deviation of the score. The paper lets the target take part in the maximum that it is compared
with, which sets every positive margin to 0; here margins keep their value.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from bathyscope.risk.estimate import Figures
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.naive import share_of_hits
from bathyscope.risk.estimators.one_pass import ScorePass
from bathyscope.risk.look import Look, Seen
from bathyscope.risk.resamples import over_resamples, percentiles

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianMargin:
    """The probability that a fitted law gives to scores of at least 0. Always flagged `model_bias`."""

    tail: Literal["normal", "gumbel"] = "normal"
    """The law: normal, or Gumbel (the law of maxima), whose upper tail falls like exp(-score) instead of
    exp(-score²)."""

    @property
    def name(self) -> str:
        """`GLD`, or `GLD, gumbel`."""
        return "GLD" if self.tail == "normal" else "GLD, gumbel"

    @property
    def needs(self) -> frozenset[Need]:
        """A score that decides."""
        return frozenset({"score"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start."""
        return ScorePass(self, look, generator)

    def of_scores(self, seen: Seen, *, is_smooth: bool, level: float, seed: int) -> Figures:
        """The fitted tail, with the percentile interval of its bootstrap.

        Scores that are all alike, or fewer than two, are fitted by nothing: the share of hits is returned.
        """
        score_N = seen.score_N.numpy()
        n, n_hits = len(score_N), int((score_N >= 0).sum())
        if n < 2 or not np.isfinite(score_N).all() or score_N.min() == score_N.max():
            return share_of_hits(n_hits, n, level=level, flags=("model_bias",))
        centre = score_N.mean()
        powers_N2 = np.stack([score_N - centre, (score_N - centre) ** 2], axis=1)
        log_p_R = over_resamples(n, lambda counts_RN: self._log_tail(counts_RN @ powers_N2 / n, centre), seed)
        low, high = percentiles(log_p_R, level)
        return Figures(
            log_p=float(self._log_tail(powers_N2.mean(0)[None], centre)[0]),
            log_low=low,
            log_high=high,
            n_hits=n_hits,
            flags=("model_bias",),
        )

    def _log_tail(self, moments_R2: Float[Array, "R 2"], centre: float) -> Float[Array, " R"]:
        """log P(score ≥ 0) from the first two moments about `centre`; a variance of 0 gives 0 or 1."""
        from scipy.special import log_ndtr

        mean_R = moments_R2[:, 0] + centre
        sd_R = np.sqrt(np.maximum(moments_R2[:, 1] - moments_R2[:, 0] ** 2, 1e-300))
        if self.tail == "normal":
            return log_ndtr(mean_R / sd_R)
        scale_R = sd_R * math.sqrt(6) / math.pi
        mode_R = mean_R - np.euler_gamma * scale_R
        reach_R = mode_R / scale_R  # P = 1 - exp(-exp(reach)), which is exp(reach) far out
        return np.where(reach_R < -30, reach_R, np.log(-np.expm1(-np.exp(np.clip(reach_R, -30, 30)))))
