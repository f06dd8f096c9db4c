"""`ShuffledCodes`: the event among activations put together of features that were seen on different inputs.

QLD cuts activations in two parts and combines them in all pairs; here a dictionary cuts them in as many parts as it has
features (or blocks of correlated features), and one for what it does not reconstruct. All combinations are far too many
to count, so they are drawn from the exponential tilt under which the event is usual, and weighed:

    p = E_v[ 1{x shows t} · exp(K(v) - v·x) ]

which is unbiased for the combinations. Whether these say anything of the model's own inputs is another matter: hence
the flag `model_bias`, and the null, a random dictionary in place of the learnt one.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import progress
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.estimator import Need, Run
from bathyscope.risk.estimators.naive import share_of_hits
from bathyscope.risk.estimators.one_pass import ActivationPass
from bathyscope.risk.features.blocks import correlated_blocks
from bathyscope.risk.features.parts import Parts, drawn, parts_of, tilted, times_taken
from bathyscope.risk.features.tilt import towards
from bathyscope.risk.head import Head
from bathyscope.risk.look import Look
from bathyscope.risk.tails import weighed

BLOCK_BYTES = 64 << 20
"""Size of the [rows, V] logits held at once."""
HEAVY = 0.7
"""Pareto shape above which the mean of weights is not to be trusted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShuffledCodes:
    """Features drawn independently of each other, each with the law of its codes on the inputs.

    The interval covers the draws and, to first order, the choice of inputs; not that features do depend on each other.
    """

    dictionary: Dictionary
    """Of the final norm's activations at the last token: a trained one, columns of shifts, or a random one."""
    block_size: int = 1
    """Most features that are drawn together, those with the most correlated codes; 1: every one alone."""
    n_drawn: int = 16_384
    """Combinations drawn for each event; they cost no forward."""

    def __post_init__(self) -> None:
        if self.block_size < 1 or self.n_drawn < 100:
            raise ConfigError("shuffled codes take a block_size of at least 1 and at least 100 draws")
        self.dictionary.require_one_place("shuffling codes")
        if self.dictionary.normalise is not None:
            raise ConfigError("this dictionary normalises each token: its codes cannot be moved to another token")

    @property
    def name(self) -> str:
        """`shuffled codes`."""
        return "shuffled codes"

    @property
    def needs(self) -> frozenset[Need]:
        """One token's argmax."""
        return frozenset({"argmax"})

    def begin(self, look: Look, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a dictionary of another place than the model's final norm."""
        run = ActivationPass(self, look, generator)
        self._require(run.head)
        return run

    def of_activations(
        self, x_ND: Float[Tensor, "N D"], head: Head, tokens: Sequence[int], *, level: float, seed: int
    ) -> list[Figures]:
        """For each token its figures; the inputs are encoded once for all."""
        self._require(head)
        if len(x_ND) < 2:
            return [share_of_hits(0, 0, level=level, flags=("model_bias",)) for _ in tokens]
        x_ND, dictionary = x_ND.cpu(), self.dictionary.to("cpu")
        codes = dictionary.encode(x_ND)
        parts = parts_of(dictionary, codes, x_ND, correlated_blocks(codes, self.block_size))
        way_out = WayOut(head.weight_VD.double().cpu(), head.bias_V.double().cpu())
        n_hits_V = way_out.likeliest(x_ND.double()).bincount(minlength=len(way_out.bias_V)).tolist()
        found: list[Figures] = []
        for number, token in enumerate(tokens):
            generator = torch.Generator().manual_seed(seed)  # a token's figures do not depend on the others
            found.append(self._figures(parts, way_out, token, n_hits_V[token], level=level, generator=generator))
            progress.report("risk", number + 1, len(tokens), "events extrapolated")
        return found

    def _figures(
        self, parts: Parts, way_out: "WayOut", token: int, n_hits: int, *, level: float, generator: torch.Generator
    ) -> Figures:
        tilt = towards(parts, *way_out.rivals(token))
        if not tilt.is_reached:
            return share_of_hits(n_hits, parts.n_inputs, level=level, flags=("model_bias", "infeasible"))
        shares = tilted(parts, tilt.v_D)
        x_MD = drawn(parts, shares, self.n_drawn, generator=generator)
        hits_M = way_out.likeliest(x_MD) == token
        log_w_M = float(shares.log_moment) - x_MD[hits_M] @ tilt.v_D
        if not len(log_w_M):
            return share_of_hits(n_hits, parts.n_inputs, level=level, flags=("model_bias", "stuck"))
        taken_N = times_taken(parts, shares)
        of_inputs = float(((taken_N - taken_N.mean()) ** 2).sum())
        return _weighed_figures(log_w_M, self.n_drawn, n_hits, of_inputs, level=level)

    def _require(self, head: Head) -> None:
        place, width = self.dictionary.hookpoint, head.weight_VD.shape[1]
        if place not in (None, head.hookpoint) or self.dictionary.d_model != width:
            raise ConfigError(
                f"{self.name} needs a dictionary of {head.hookpoint!r}, width {width}, where activations turn into "
                f"logits; this one is of {place!r}, width {self.dictionary.d_model}: train one there"
            )


class WayOut(NamedTuple):
    """The head in float64, on the processor."""

    weight_VD: Float[Tensor, "V D"]
    """Row v reads token v."""
    bias_V: Float[Tensor, " V"]
    """Added to the logits."""

    def rivals(self, token: int) -> tuple[Float[Tensor, "J D"], Float[Tensor, " J"]]:
        """G and h of the event `Gx + h ≥ 0`, that `token` is the likeliest."""
        others = torch.arange(len(self.bias_V)) != token
        return self.weight_VD[token] - self.weight_VD[others], self.bias_V[token] - self.bias_V[others]

    def likeliest(self, x_ND: Float[Tensor, "N D"]) -> Int[Tensor, " N"]:
        """The token of the largest logit, a block of rows at a time."""
        size = max(1, BLOCK_BYTES // (8 * len(self.bias_V)))
        return torch.cat([(part @ self.weight_VD.T + self.bias_V).argmax(1) for part in x_ND.split(size)])


def _weighed_figures(log_w_M: Float[Tensor, " M"], n: int, n_hits: int, of_inputs: float, *, level: float) -> Figures:
    """The mean of the weights over `n` draws; the interval is normal in the logarithm.

    Two relative variances: that of the draws, and `of_inputs`, which another sample of inputs would bring. An input's
    influence on p is, to first order, the number of parts that a hit takes from it beyond the mean; the tilt stands for
    the law of hits.
    """
    from scipy.stats import norm

    mean = weighed(log_w_M.numpy(), n, level=level)
    half = float(norm.ppf((1 + level) / 2)) * math.sqrt(1 / mean.ess - 1 / n + of_inputs)
    is_heavy = mean.pareto_k is None or mean.pareto_k > HEAVY
    flags: tuple[Flag, ...] = ("model_bias", "heavy_tail") if is_heavy else ("model_bias",)
    log_p = min(mean.log_mean, 0.0)
    return Figures(
        log_p=log_p,
        log_low=log_p - half,
        log_high=min(log_p + half, 0.0),
        n_hits=n_hits,
        ess=mean.ess,
        max_weight_share=mean.max_share,
        pareto_k=mean.pareto_k,
        flags=flags,
    )
