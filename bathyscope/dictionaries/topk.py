"""TopK: at most k features per token, by construction (Gao et al. 2024, arXiv 2406.04093).

c = ReLU(top-k(pre)),  pre = (x - b_pre) @ W_enc + b_enc,  x̂ = c @ W_dec + b_pre
L = ‖x - x̂‖² / Var(x) + α · ‖e - ê‖² / Var(e),  e = x - x̂ without gradient, ê the dead features' guess of e
Multi-TopK adds ⅛ · ‖x - x̂₄‖² / Var(x) with x̂₄ from the 4k largest, so that further features mean something too.
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
from bathyscope.dictionaries.kernels.select import Pairs, select_among
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.ranges import require_falling_k, require_not_negative, require_positive
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.schedule import Optimisation, falling_k, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class TopK:
    """TopK with an auxiliary loss that revives dead features. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Most active features per token."""
    k_start: int | None = None
    """Most active features per token at the start of the run; None is 4·k, at most F/6. Needs a k_anneal."""
    k_anneal: float = 0.0
    """Share of the run over which the number of active features falls to k, linearly; 0 is k throughout."""
    multi_k: int | None = None
    """A larger number of active features that is to reconstruct too, 4·k in the paper; None leaves it at k."""
    multi_coefficient: float = 1 / 8
    """Weight of the error with multi_k active features."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead (Gao et al. use 10 million on far longer runs)."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""
    aligned: bool = False
    """Keep the inner product of encoder and decoder rows at 1 (arXiv 2605.18629); helps long runs, harms short ones."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "k_aux", "multi_coefficient", "dead_after_tokens")
        require_not_negative(self, "aux_coefficient")
        require_falling_k(self.k, self.k_start, self.k_anneal, self.n_features)
        if self.multi_k is not None and not self.k_at(0.0) < self.multi_k <= self.n_features:
            raise ConfigError(
                f"multi_k is {self.multi_k}: expected more than {self.k_at(0.0)} (the k it begins with), "
                f"at most n_features = {self.n_features}"
            )

    def optimisation(self, d_model: int) -> Optimisation:
        """A high rate that falls over most of the run: what short runs (under 10 million tokens) gain most from."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`: the part that is learnt has unit variance, however large the mean."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "TopKTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return TopKTrainee(self, d_model, generator)

    def k_at(self, progress: float) -> int:
        """Most active features at `progress` of the run."""
        return round(falling_k(self.k, self.k_start, self.k_anneal, self.n_features, progress=progress))


class TopKTrainee(Trainee):
    """A TopK dictionary that learns."""

    def __init__(self, kind: TopK, d_model: int, generator: torch.Generator) -> None:
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
        """All summands; the auxiliary one counts features as dead that were silent up to this batch, included."""
        k = self.kind.k_at(progress)
        target, more = moments(x_ND), self._pairs(x_ND, max(k, self.kind.multi_k or 0))
        pairs = select_among(more, k)
        error = reconstruction_error(x_ND, *pairs, self.W_dec_FD, self.b_pre_D)
        fires_F = Codes(pairs.values_NK.detach(), pairs.indices_NK, self.kind.n_features).fires()
        parts = {"error": share_of_variation(error.squared, target)}
        if self.kind.multi_k is not None:
            wider = reconstruction_error(x_ND, *more, self.W_dec_FD, self.b_pre_D)
            parts["multi"] = self.kind.multi_coefficient * share_of_variation(wider.squared, target)
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
        """`‖e - ê‖² / Var(e)`, 0 when no feature is dead. The residual is a fixed target."""
        weights = (self.W_enc_FD, self.b_enc_F, self.W_dec_FD)
        return auxiliary_loss(x_ND - self.b_pre_D, residual_ND, dead_F, *weights, k_aux=self.k_aux)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return Codes(*self._pairs(x_ND, self.kind.k), self.kind.n_features)

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
        return Dictionary(weights=folded, rule=Largest(k=self.kind.k), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Largest` with this k."""
        shape = self.W_enc_FD.T.shape
        weights = adopted(dictionary, shape=shape, rule=Largest(k=self.kind.k), subtract_b_dec=True, scale=scale)
        if self.kind.aligned:
            require_aligned(weights.W_enc, weights.W_dec)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_pre_D)

    def _pairs(self, x_ND: Tensor, k: int) -> Pairs:
        return encode_largest(x_ND, self.b_pre_D, self.W_enc_FD, self.b_enc_F, k)
