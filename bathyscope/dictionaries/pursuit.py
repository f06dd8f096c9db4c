"""Matching pursuit as the encoder (Costa et al. 2025, arXiv 2506.03093): each step looks at what the last ones left.

r = x - b_pre;  k times: f = argmax_f ⟨r, d_f⟩, v = ⟨r, d_f⟩, c_f += v, r ← r - v·d_f;  x̂ = c @ W_dec + b_pre, ‖d_f‖ = 1
L = ‖r‖² / Var(x) + α · ‖e - ê‖² / Var(e),  e = r without gradient, ê the dead features' own pursuit of e

There is no W_enc. With the choice of features fixed r is a product of projections of x, and L's gradient is the exact
one through all of them. Codes are non-negative as in SynthSAEBench's and SAELens' pursuit, or signed.
"""

import dataclasses
import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted
from bathyscope.dictionaries.auxiliary import share_of_variation
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.pursuit import merged, pursue
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.ranges import require_k, require_not_negative, require_positive
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold

EQUAL_THRESHOLDS = 1e-5
"""Relative difference up to which two residual thresholds count as the same, once the scale is taken out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatchingPursuit:
    """Matching pursuit on the decoder's own rows. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Most steps per token, and so most active features."""
    residual_threshold: float = 0.0
    """A token is done once its residual is shorter than this, in scaled units where ‖x - x̄‖ is about √D."""
    is_signed: bool = False
    """Whether codes may be negative."""
    stops_on_duplicate: bool = False
    """Whether a token is done once a feature is taken a second time."""
    k_aux: int = 4
    """Steps in which dead features pursue the residual."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "k_aux", "dead_after_tokens")
        require_not_negative(self, "residual_threshold", "aux_coefficient")
        require_k(self.k, self.n_features)

    def optimisation(self, d_model: int) -> Optimisation:
        """As TopK's: a high rate that falls over most of the run."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "MatchingPursuitTrainee":
        """A trainee with random unit rows."""
        return MatchingPursuitTrainee(self, d_model, generator)

    def rule(self, scale: float) -> Pursuit:
        """How the folded dictionary encodes activations that are not multiplied by `scale`."""
        return Pursuit(
            k=self.k,
            residual_threshold=self.residual_threshold / scale,
            is_signed=self.is_signed,
            stops_on_duplicate=self.stops_on_duplicate,
        )


class MatchingPursuitTrainee(Trainee):
    """A pursuit dictionary that learns: decoder rows and a bias."""

    def __init__(self, kind: MatchingPursuit, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator).W_dec_FD
        self.kind, self.limits = kind, kind.rule(1.0).limits
        self.W_dec_FD = nn.Parameter(W_dec_FD)
        self.b_pre_D = nn.Parameter(torch.zeros(d_model))
        self.silence = Silence(kind.n_features)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_pre` from the data."""
        with torch.no_grad():
            self.b_pre_D.copy_(start.bias_start(x_ND, self.kind.bias_start))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands; the auxiliary one counts features as dead that were silent up to this batch, included."""
        target, steps = moments(x_ND), pursue(x_ND - self.b_pre_D, self.W_dec_FD, self.limits)
        squared = steps.residual_ND.square().sum()
        with torch.no_grad():
            fires_F = Codes(*merged(steps), self.kind.n_features).fires()
        parts = {"error": share_of_variation(squared, target)}
        if self.kind.aux_coefficient > 0:
            dead_F = self.silence.after(fires_F, len(x_ND)) >= self.kind.dead_after_tokens
            parts["auxiliary"] = self.kind.aux_coefficient * self.auxiliary(steps.residual_ND.detach(), dead_F)
        return Loss.sum_of(
            parts,
            squared_error=squared,
            target=target,
            fires_F=fires_F,
        )

    def auxiliary(self, residual_ND: Float[Tensor, "N D"], dead_F: Bool[Tensor, " F"]) -> Float[Tensor, ""]:
        """`‖e - ê‖² / Var(e)`, 0 when no feature is dead. Rows of other features get no gradient.

        On a CPU the dead rows alone are pursued; elsewhere the others are zeroed, so that nothing waits for a device.
        """
        is_cpu = residual_ND.device.type == "cpu"
        if is_cpu and not bool(dead_F.any()):
            return residual_ND.new_zeros(())
        rows_MD = self.W_dec_FD[dead_F] if is_cpu else self.W_dec_FD * dead_F[:, None]
        limits = self.limits._replace(n_steps=self.kind.k_aux, residual_threshold=0.0, stops_on_duplicate=False)
        left_ND = pursue(residual_ND, rows_MD, limits).residual_ND
        return share_of_variation(left_ND.square().sum(), moments(residual_ND)) * dead_F.any()

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return Codes(*merged(pursue(x_ND - self.b_pre_D, self.W_dec_FD, self.limits)), self.kind.n_features)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_pre_D)

    def before_step(self) -> None:
        """Take off the gradient what is parallel to each row."""
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Rows have length 1."""
        unit_rows(self.W_dec_FD)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary, its encoder the rows themselves."""
        n_features = self.kind.n_features
        weights = Weights(
            W_enc=self.W_dec_FD.T,
            b_enc=self.W_dec_FD.new_zeros(n_features),
            W_dec=self.W_dec_FD,
            b_dec=self.b_pre_D,
        )
        folded = fold(weights, scale=scale, compares_features=True)
        return Dictionary(weights=folded, rule=self.kind.rule(scale), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is this kind's `Pursuit`, the threshold compared in scaled units."""
        rule = self.kind.rule(scale)
        if isinstance(dictionary.rule, Pursuit):
            found = dictionary.rule.residual_threshold
            if math.isclose(found, rule.residual_threshold, rel_tol=EQUAL_THRESHOLDS):
                rule = dataclasses.replace(rule, residual_threshold=found)
        weights = adopted(dictionary, shape=self.W_dec_FD.T.shape, rule=rule, subtract_b_dec=True, scale=scale)
        with torch.no_grad():
            self.W_dec_FD.copy_(weights.W_dec)
            self.b_pre_D.copy_(weights.b_dec)
