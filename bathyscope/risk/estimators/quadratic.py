"""`QLD`: activations cut in two along the direction of the event, and put together again in n² ways.

    u = A⁻¹(a - μ),  d = z* / ‖z*‖,  z* = argmin ‖z‖ s.t. z shows the event,  α_i = u_i·d,  β_i = u_i - α_i·d
    p = n⁻² Σ_i Σ_k [α_i·d + β_k shows the event]   (Wu and Hilton 2024, arXiv 2410.13211)

Presumes that α and β are independent. A is a square root of the covariance on the directions in which the activations
vary at all. Row k shows the event for the α between two numbers: with L_kj the logits of a_k and g_j = d·(P_t - P_j),
α ≥ α_k + max_{g_j > 0} (L_kj - L_kt) / g_j and α ≤ α_k + min_{g_j < 0} (L_kj - L_kt) / g_j.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope import progress
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.naive import share_of_hits
from bathyscope.risk.estimators.one_pass import ActivationPass
from bathyscope.risk.head import Head
from bathyscope.risk.look import Look
from bathyscope.risk.resamples import over_resamples, percentiles
from bathyscope.risk.shortest import Shortest, shortest
from bathyscope.risk.tails import clopper_pearson

Array = NDArray[np.float64]

BLOCK_BYTES = 64 << 20
"""Size of the [rows, V] logits held at once."""
STILL = 1e-6
"""A direction whose variance is below this share of the largest one does not vary."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuadraticLogits:
    """QLD with true whitening, the exact shortest vector and a bootstrap over the inputs.

    Flags: `model_bias` always; `center_accepts` where the mean activation shows the event, and `infeasible` where no
    activation does: both give the share of hits. The bootstrap holds the direction fixed.
    """

    along: Literal["empirical", "normal"] = "empirical"
    """Law of α: that of the inputs, which reaches no further than n² pairs do, or the normal one."""

    @property
    def name(self) -> str:
        """`QLD`, or `QLD, normal`."""
        return "QLD" if self.along == "empirical" else "QLD, normal"

    @property
    def needs(self) -> frozenset[Need]:
        """One token's argmax."""
        return frozenset({"argmax"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget of fewer inputs than the model is wide."""
        return ActivationPass(self, look, generator)

    def of_activations(
        self, x_ND: Float[Tensor, "N D"], head: Head, tokens: Sequence[int], *, level: float, seed: int
    ) -> list[Figures]:
        """For each token its figures; the logits of the inputs are computed once for all, a block of rows at a time."""
        if len(x_ND) < 2:
            return [share_of_hits(0, 0, level=level, flags=("model_bias",)) for _ in tokens]
        white = whitened(x_ND)
        seen = seen_through(white, head)
        cuts = [cut(white, seen, token) for token in tokens]
        reaches = _reaches(x_ND, head, tokens, cuts)
        return [self._figures(one, *reach, level=level, seed=seed) for one, reach in zip(cuts, reaches, strict=True)]

    def _figures(self, one: "Cut", span: "Span", n_hits: int, *, level: float, seed: int) -> Figures:
        n = len(span.low_N)
        if one.why is not None:
            return share_of_hits(n_hits, n, level=level, flags=("model_bias", one.why))
        part = _Empirical(one.alpha_N, span) if self.along == "empirical" else _Normal(span)
        log_p = float(part.log_p(np.ones((1, n)))[0])
        low, high = percentiles(over_resamples(n, part.log_p, seed), level)
        if log_p > -math.inf:
            return Figures(log_p=log_p, log_low=low, log_high=high, n_hits=n_hits, flags=("model_bias",))
        upper = math.log(clopper_pearson(n_hits, n, level=level)[1])
        return Figures(
            log_p=log_p, log_low=low, log_high=max(high, upper), n_hits=n_hits, flags=("model_bias", "no_hits")
        )


class Whitened(NamedTuple):
    """Activations in R coordinates of mean 0 and covariance 1."""

    u_NR: Float[Array, "N R"]
    """The rows."""
    root_DR: Float[Array, "D R"]
    """A: `a = μ + A u` but for what does not vary."""
    mean_D: Float[Array, " D"]
    """μ."""


def whitened(x_ND: Float[Tensor, "N D"]) -> Whitened:
    """The rows whitened on the eigenvectors of their covariance, without those that do not vary."""
    x = x_ND.double().cpu().numpy()
    mean_D = x.mean(0)
    centred_ND = x - mean_D
    variance_R, vectors_DR = np.linalg.eigh(centred_ND.T @ centred_ND / len(x))
    varies_R = variance_R > STILL * variance_R[-1]
    sd_R, vectors_DR = np.sqrt(variance_R[varies_R]), vectors_DR[:, varies_R]
    return Whitened(centred_ND @ (vectors_DR / sd_R), vectors_DR * sd_R, mean_D)


class Cut(NamedTuple):
    """Where one token's event lies in whitened space."""

    direction_R: Float[Array, " R"] | None
    """d, of length 1; None where there is none."""
    alpha_N: Float[Array, " N"]
    """α_i."""
    slope_V: Float[Array, " V"]
    """g_j = d·(P_t - P_j); 0 for the token itself."""
    why: Flag | None
    """Why there is no direction; None where there is one."""


class SeenThrough(NamedTuple):
    """Linear logits as a function of whitened activations: `logits = P u + b`."""

    gain_VR: Float[Array, "V R"]
    """P."""
    centre_V: Float[Array, " V"]
    """b, the logits of the mean activation."""


def seen_through(white: Whitened, head: Head) -> SeenThrough:
    """What the head makes of whitened activations."""
    weight_VD = head.weight_VD.double().cpu().numpy()
    return SeenThrough(weight_VD @ white.root_DR, weight_VD @ white.mean_D + head.bias_V.double().cpu().numpy())


def nearest(seen: SeenThrough, token: int) -> Shortest:
    """The shortest whitened vector whose activation makes `token` the likeliest."""
    others = np.arange(len(seen.centre_V)) != token
    return shortest(seen.gain_VR[token] - seen.gain_VR[others], seen.centre_V[others] - seen.centre_V[token])


def cut(white: Whitened, seen: SeenThrough, token: int) -> Cut:
    """The direction of the shortest whitened vector that makes `token` the likeliest, and α along it."""
    found = nearest(seen, token)
    if found.z_D is None or not found.n_rounds:
        why: Flag = "infeasible" if found.z_D is None else "center_accepts"
        return Cut(None, np.zeros(len(white.u_NR)), np.zeros(len(seen.centre_V)), why)
    direction_R = found.z_D / np.linalg.norm(found.z_D)
    along_V = seen.gain_VR @ direction_R
    return Cut(direction_R, white.u_NR @ direction_R, along_V[token] - along_V, None)


class Span(NamedTuple):
    """For each row k the α that would show the event with β_k: from `low_N` to `high_N`, none where low > high."""

    low_N: Float[Array, " N"]
    high_N: Float[Array, " N"]


def span_of(
    logits_NV: Float[Tensor, "N V"], alpha_N: Float[Array, " N"], slope_V: Float[Array, " V"], token: int
) -> Span:
    """The α that show the event with each row's β; unchanged when any multiple of d is added to a row."""
    lead_NV = logits_NV - logits_NV[:, token : token + 1]
    slope = torch.from_numpy(slope_V).to(lead_NV)
    up, down, flat = slope > 0, slope < 0, slope == 0
    low_N = (lead_NV[:, up] / slope[up]).amax(1) if bool(up.any()) else lead_NV.new_full((len(lead_NV),), -torch.inf)
    high_N = (lead_NV[:, down] / slope[down]).amin(1) if bool(down.any()) else torch.full_like(low_N, torch.inf)
    dead_N = (lead_NV[:, flat] > 0).any(1)  # the token's own lead is 0
    low_N = torch.where(dead_N, torch.inf, low_N)
    return Span(alpha_N + low_N.double().cpu().numpy(), alpha_N + high_N.double().cpu().numpy())


def _reaches(
    x_ND: Float[Tensor, "N D"], head: Head, tokens: Sequence[int], cuts: Sequence[Cut]
) -> list[tuple[Span, int]]:
    """For each token its spans and how many rows show it."""
    pieces: list[list[Span]] = [[] for _ in tokens]
    hits = [0] * len(tokens)
    for rows, logits_BV in _blocks(x_ND, head):
        best_B = logits_BV.argmax(1)
        for number, (token, one) in enumerate(zip(tokens, cuts, strict=True)):
            hits[number] += int((best_B == token).sum())
            pieces[number].append(span_of(logits_BV, one.alpha_N[rows], one.slope_V, token))
    return [(Span(*map(np.concatenate, zip(*parts, strict=True))), n) for parts, n in zip(pieces, hits, strict=True)]


def _blocks(x_ND: Float[Tensor, "N D"], head: Head) -> Iterator[tuple[slice, Float[Tensor, "B V"]]]:
    """Linear logits of some rows at a time."""
    size = max(1, BLOCK_BYTES // (4 * len(head.bias_V)))
    for first in range(0, len(x_ND), size):
        yield slice(first, first + size), head.linear(x_ND[first : first + size])
        progress.report("risk", min(first + size, len(x_ND)), len(x_ND), "rows extrapolated")


class _Empirical:
    """α has the law of the rows."""

    def __init__(self, alpha_N: Float[Array, " N"], span: Span) -> None:
        order_N = np.argsort(alpha_N, kind="stable")
        low_N = np.searchsorted(alpha_N[order_N], span.low_N, side="left")
        high_N = np.searchsorted(alpha_N[order_N], span.high_N, side="right")
        self._rows_M = np.flatnonzero(low_N < high_N)  # of a rare event few
        first = low_N[self._rows_M].min(initial=len(order_N))
        self._low_M, self._high_M = low_N[self._rows_M] - first, high_N[self._rows_M] - first
        self._reached = order_N[first : self._high_M.max(initial=0) + first]

    def log_p(self, counts_RN: Float[Array, "R N"]) -> Float[Array, " R"]:
        """log of the share of pairs that show the event, each row weighed by its count in both parts."""
        below_RM = np.pad(counts_RN[:, self._reached].cumsum(1), ((0, 0), (1, 0)))
        hits_RM = below_RM[:, self._high_M] - below_RM[:, self._low_M]
        with np.errstate(divide="ignore"):
            return np.log((counts_RN[:, self._rows_M] * hits_RM).sum(1)) - 2 * np.log(counts_RN.sum(1))


class _Normal:
    """α has the normal law of its mean 0 and variance 1."""

    def __init__(self, span: Span) -> None:
        log_share_N = log_normal_between(span.low_N, span.high_N)
        self._top = float(log_share_N.max())
        self._share_N = np.exp(log_share_N - self._top) if self._top > -math.inf else np.zeros(len(log_share_N))

    def log_p(self, counts_RN: Float[Array, "R N"]) -> Float[Array, " R"]:
        """log of the mean probability over the rows."""
        with np.errstate(divide="ignore"):
            return self._top + np.log(counts_RN @ self._share_N) - np.log(counts_RN.sum(1))


def log_normal_between(low_N: Float[Array, " N"], high_N: Float[Array, " N"]) -> Float[Array, " N"]:
    """log P(low ≤ z ≤ high) of a standard normal z, minus infinity where low ≥ high; exact far out on either side."""
    from scipy.special import log_ndtr

    share_N = np.full(len(low_N), -np.inf)
    some_N = low_N < high_N
    low, high = low_N[some_N], high_N[some_N]
    turned = low > -high  # both ends are taken to the lower side, where a logarithm keeps its digits
    near, far = log_ndtr(np.where(turned, -low, high)), log_ndtr(np.where(turned, -high, low))
    share_N[some_N] = near + np.log(-np.expm1(np.minimum(far - near, -1e-300)))
    return share_N
