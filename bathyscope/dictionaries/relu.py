"""ReLU with an L1 penalty weighted by decoder norms (Templeton et al. 2024, Scaling Monosemanticity).

c = ReLU(x @ W_enc + b_enc),  x̂ = c @ W_dec + b_dec
L = ‖x - x̂‖² + λ Σ_f c_f ‖d_f‖   with free decoder norms, both summands as means over tokens

λ is fixed, or moves until a given L0 is met (`l0_control.py`).
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.density import Density
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.relu_step import dense_relu_step, sparse_relu_step
from bathyscope.dictionaries.l0_control import L0_ANNEAL, check_target, seen_by, weight_control, weight_factor
from bathyscope.dictionaries.ranges import require_not_negative, require_positive, require_shares_of_run
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.schedule import Optimisation, ramp, sized_rate
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold


@dataclass(frozen=True, slots=True, kw_only=True)
class ReLU:
    """ReLU with L1·‖d_f‖. Activations are scaled to `E‖x‖² = D`; λ means nothing under another convention."""

    n_features: int = 4608
    """F, number of features."""
    l1: float = 5.0
    """λ, weight of the sparsity penalty; larger means fewer active features. With `l0`, where λ begins."""
    l0: int | None = None
    """Mean number of active features per token that λ is moved to reach; None keeps λ as it is."""
    l0_anneal: float = L0_ANNEAL
    """Share of the run over which L0 comes down to l0 from where the dictionary began; 0 asks for l0 throughout."""
    l1_warm_up: float = 0.05
    """Share of the run over which λ rises from 0, linearly."""
    decoder_norm: float = 0.1
    """Length of the decoder rows at the start; the encoder starts as their copy."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead in the figures (10 million in the paper)."""
    bias_start: start.BiasStart = "mean"
    """Where `b_dec` begins; from zero (as in the paper) features are spent on the mean before the bias has grown."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "decoder_norm", "dead_after_tokens")
        require_not_negative(self, "l1")
        require_shares_of_run(self, "l1_warm_up")
        check_target(self.l0, self.l0_anneal, self.n_features, l1=self.l1)

    def optimisation(self, d_model: int) -> Optimisation:
        """The paper's shape (decay over the last fifth); its rate of 5e-5 is meant for 200,000 steps."""
        return Optimisation(lr=sized_rate(2e-3, n_features=self.n_features, d_model=d_model), warm_up=0.02, decay=0.2)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·x‖² = D`."""
        return start.unit_second_moment(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "ReLUTrainee":
        """A trainee with random decoder rows and the encoder copied from them."""
        return ReLUTrainee(self, d_model, generator)


class ReLUTrainee(Trainee):
    """A ReLU dictionary that learns."""

    def __init__(self, kind: ReLU, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=kind.decoder_norm, generator=generator)
        self.kind = kind
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_dec_D = nn.Parameter(torch.zeros(d_model))
        self.silence, self.density = Silence(kind.n_features), Density(kind.n_features)
        self.control = weight_control(kind.l0, kind.l0_anneal)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_dec` from the data."""
        with torch.no_grad():
            self.b_dec_D.copy_(start.bias_start(x_ND, self.kind.bias_start))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands, the penalty with λ as far as it has risen. Sparse batches are computed from pairs alone."""
        take_step = sparse_relu_step if self.density.is_sparse(x_ND) else dense_relu_step
        weights = self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D
        step = take_step(x_ND, *weights, self.W_dec_FD.norm(dim=1))
        l1 = self.kind.l1 * ramp(progress, self.kind.l1_warm_up) * weight_factor(self.control, progress)
        seen = seen_by(step.fires_F, len(x_ND), progress)
        return Loss.sum_of(
            {"error": step.squared / len(x_ND), "sparsity": l1 * step.size / len(x_ND)},
            squared_error=step.squared,
            target=moments(x_ND),
            fires_F=step.fires_F,
            seen={**seen, "density": seen["l0"]},
        )

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return Codes.from_dense(self._codes(x_ND))

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_dec_D)

    def before_step(self) -> None:
        """Nothing: decoder norms are free."""

    def after_step(self, loss: Loss) -> None:
        """λ follows L0. Decoder norms are free."""
        self.density.update(loss)
        if self.control is not None:
            self.control.update(loss)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary: codes become c_f‖d_f‖, directions d_f/‖d_f‖."""
        weights = Weights(W_enc=self.W_enc_FD.T, b_enc=self.b_enc_F, W_dec=self.W_dec_FD, b_dec=self.b_dec_D)
        return Dictionary(weights=fold(weights, scale=scale), rule=Positive(), subtract_b_dec=False)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Positive`; decoder rows of length 1."""
        weights = adopted(dictionary, shape=self.W_enc_FD.T.shape, rule=Positive(), subtract_b_dec=False, scale=scale)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D)

    def _codes(self, x_ND: Tensor) -> Tensor:
        return torch.addmm(self.b_enc_F, x_ND, self.W_enc_FD.T).relu()
