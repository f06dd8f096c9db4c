"""AbsTopK: the k largest pre-activations by size, with their sign (Zhu et al. 2025, arXiv 2510.00404).

c = the k entries of pre with largest |pre|,  pre = (x - b_pre) @ W_enc + b_enc,  x̂ = c @ W_dec + b_pre
L = ‖x - x̂‖² / Var(x) + α · ‖e - ê‖² / Var(e),  e = x - x̂ without gradient, ê the dead features' guess of e

One feature holds a concept and its opposite. A negative code is a firing like a positive one, and the auxiliary guess
is signed too.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.aligned import align, align_gradients, require_aligned
from bathyscope.dictionaries.auxiliary import auxiliary_loss, default_k_aux, share_of_variation
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.encode import encode_largest
from bathyscope.dictionaries.kernels.error import reconstruction_error
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.ranges import require_k, require_not_negative, require_positive
from bathyscope.dictionaries.rules import LargestAbsolute
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsTopK:
    """Signed TopK with an auxiliary loss that revives dead features. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Active features per token, of either sign."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead (10 million on far longer runs)."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""
    aligned: bool = False
    """Keep the inner product of encoder and decoder rows at 1 (arXiv 2605.18629); helps long runs, harms short ones."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "k_aux", "dead_after_tokens")
        require_not_negative(self, "aux_coefficient")
        require_k(self.k, self.n_features)

    def optimisation(self, d_model: int) -> Optimisation:
        """As TopK's: a high rate that falls over most of the run."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`: the part that is learnt has unit variance, however large the mean."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "AbsTopKTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return AbsTopKTrainee(self, d_model, generator)


class AbsTopKTrainee(Trainee):
    """A signed TopK dictionary that learns."""

    def __init__(self, kind: AbsTopK, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind = kind
        self.k_aux = kind.k_aux or default_k_aux(d_model)
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_pre_D = nn.Parameter(torch.zeros(d_model))
        self.silence = Silence(kind.n_features)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_pre` from the data."""
        with torch.no_grad():
            self.b_pre_D.copy_(start.bias_start(x_ND, self.kind.bias_start))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands; a feature is dead when it fired with neither sign up to this batch, included."""
        target, pairs = moments(x_ND), self._pairs(x_ND)
        error = reconstruction_error(x_ND, *pairs, self.W_dec_FD, self.b_pre_D)
        fires_F = Codes(pairs.values_NK.detach(), pairs.indices_NK, self.kind.n_features).fires()
        parts = {"error": share_of_variation(error.squared, target)}
        if self.kind.aux_coefficient > 0:
            dead_F = self.silence.after(fires_F, len(x_ND)) >= self.kind.dead_after_tokens
            parts["auxiliary"] = self.kind.aux_coefficient * self.auxiliary(x_ND, error.residual_ND, dead_F)
        return Loss.sum_of(
            parts,
            squared_error=error.squared,
            target=target,
            fires_F=fires_F,
        )

    def auxiliary(
        self, x_ND: Float[Tensor, "N D"], residual_ND: Float[Tensor, "N D"], dead_F: Bool[Tensor, " F"]
    ) -> Float[Tensor, ""]:
        """`‖e - ê‖² / Var(e)` with signed codes, 0 when no feature is dead. The residual is a fixed target."""
        weights = (self.W_enc_FD, self.b_enc_F, self.W_dec_FD)
        return auxiliary_loss(x_ND - self.b_pre_D, residual_ND, dead_F, *weights, k_aux=self.k_aux, absolute=True)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return Codes(*self._pairs(x_ND), self.kind.n_features)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_pre_D)

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        if self.kind.aligned:
            align_gradients(self.W_enc_FD, self.W_dec_FD)
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1."""
        unit_rows(self.W_dec_FD)
        if self.kind.aligned:
            align(self.W_enc_FD, self.W_dec_FD)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary."""
        weights = Weights(W_enc=self.W_enc_FD.T, b_enc=self.b_enc_F, W_dec=self.W_dec_FD, b_dec=self.b_pre_D)
        folded = fold(weights, scale=scale, compares_features=True)
        return Dictionary(weights=folded, rule=LargestAbsolute(k=self.kind.k), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `LargestAbsolute` with this k."""
        shape, rule = self.W_enc_FD.T.shape, LargestAbsolute(k=self.kind.k)
        weights = adopted(dictionary, shape=shape, rule=rule, subtract_b_dec=True, scale=scale)
        if self.kind.aligned:
            require_aligned(weights.W_enc, weights.W_dec)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_pre_D)

    def _pairs(self, x_ND: Tensor) -> Pairs:
        return encode_largest(x_ND, self.b_pre_D, self.W_enc_FD, self.b_enc_F, self.kind.k, absolute=True)
