"""Sparse shift autoencoder as a kind: differences of activations, linear signed codes, a bound on their mean L1.

c = x @ W_enc,  x̂ = c @ W_dec,  rows of W_dec of length 1 after every step, no bias, no ReLU, no normalised code
min ‖x - x̂‖² / ‖x‖²  subject to  E Σ_f |c_f| ≤ β · l1_start        (Joshi et al. 2025, arXiv 2502.12179; no biases here)

l1_start is measured: the mean L1 of codes at the random start. A difference has a natural zero, so there is no bias;
one would swallow a concept that changes the same way in every pair. Batches are read as they come and one bound is
kept, as with every other kind; `shifts/learn.py` finds the bound and restarts, and is what to use for pairs that
fit into memory. With `measure="l0"` the bound is on the mean number of codes above a small threshold, which learns by a
straight-through step (the derivative of the count is that of a ramp of width `bandwidth` around the threshold).
"""

import logging
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.codes import Codes, fires_of
from bathyscope.dictionaries.constraint import BoundSchedule, Dual, DualSettings
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.unit_rows import unit_rows
from bathyscope.dictionaries.ranges import require_positive
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Sparse shift autoencoder with one bound. Shifts are scaled to `E‖x‖² = D`."""

    n_features: int = 30
    """F, number of columns; at most the number of dimensions."""
    beta: float = 0.4
    """Bound: mean L1 of codes as a multiple of that at the start; with `measure l0` the mean number of codes."""
    measure: Literal["l1", "l0"] = "l1"
    """What is bounded."""
    threshold: float = 0.05
    """Size from which a code counts, for `l0`; scaled shifts have entries of about 1."""
    bandwidth: float = 0.05
    """Width of the ramp by which the count learns, for `l0`."""
    dual_lr: float = 1e-2
    """Step of the multiplier."""
    dual_proportion: float = 0.0
    """Weight of the present violation in the multiplier, against swinging."""
    bound_start: float = 1.0
    """The bound at the beginning, in multiples of the final one."""
    bound_hold: float = 0.0
    """Share of the run during which it stays there."""
    bound_fall: float = 0.0
    """Share of the run over which it then falls."""
    dead_after_tokens: int = 100_000
    """Pairs of silence after which a column counts as dead."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "beta", "threshold", "bandwidth", "dead_after_tokens")
        if self.measure == "l0" and self.beta > self.n_features:
            raise ConfigError(f"beta is {self.beta}: expected at most n_features = {self.n_features} active codes")
        _ = self.dual, self.bound

    @property
    def dual(self) -> DualSettings:
        """How the multiplier moves."""
        return DualSettings(dual_lr=self.dual_lr, dual_proportion=self.dual_proportion)

    @property
    def bound(self) -> BoundSchedule:
        """How the bound comes down."""
        return BoundSchedule(bound_start=self.bound_start, bound_hold=self.bound_hold, bound_fall=self.bound_fall)

    def optimisation(self, d_model: int) -> Optimisation:
        """Adam at a rate that unit rows bear, falling over the last third."""
        return Optimisation(lr=5e-3, warm_up=0.02, decay=0.3)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·x‖² = D`."""
        return start.unit_second_moment(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "ShiftTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        if self.n_features > d_model:
            log.warning("%s columns in %s dimensions: no more than those can be told apart", self.n_features, d_model)
        return ShiftTrainee(self, d_model, generator)


class ShiftTrainee(Trainee):
    """A sparse shift autoencoder that learns."""

    l1_start: Float[Tensor, ""]
    """Mean L1 of the codes of a sample at the start: the unit of β."""

    def __init__(self, kind: Shift, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind = kind
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.dual, self.silence = Dual(kind.dual), Silence(kind.n_features)
        self.register_buffer("l1_start", torch.ones(()))

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """The unit of β from the data."""
        with torch.no_grad():
            self.l1_start.copy_((x_ND @ self.W_enc_FD.T).abs().sum(1).mean().clamp_min(1e-30))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands; the second is negative where the bound has slack."""
        codes_NF = self._codes(x_ND)
        squared_error = (x_ND - codes_NF @ self.W_dec_FD).square().sum()
        violation = self.size(codes_NF) / (self.kind.beta * self.kind.bound.factor(progress)) - 1
        share = squared_error / x_ND.square().sum().clamp_min(1e-30)
        return Loss.sum_of(
            {"error": share, "sparsity": self.dual.penalty(violation)},
            squared_error=squared_error,
            target=moments(x_ND),
            fires_F=fires_of(codes_NF),
            seen={"violation": violation.detach()},
        )

    def size(self, codes_NF: Float[Tensor, "N F"]) -> Float[Tensor, ""]:
        """What is bounded, in the unit of β."""
        if self.kind.measure == "l1":
            return codes_NF.abs().sum(1).mean() / self.l1_start
        return counted(codes_NF, self.kind.threshold, self.kind.bandwidth).sum(1).mean()

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled shifts."""
        return Codes.from_dense(self._codes(x_ND))

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled shifts."""
        return codes.dense() @ self.W_dec_FD

    def before_step(self) -> None:
        """Nothing: rows are brought back after the step."""

    def after_step(self, loss: Loss) -> None:
        """Rows of length 1, then the multiplier."""
        unit_rows(self.W_dec_FD)
        self.dual.update(loss.seen["violation"])

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary."""
        zeros_F, zeros_D = self.W_enc_FD.new_zeros(len(self.W_enc_FD)), self.W_dec_FD.new_zeros(self.W_dec_FD.shape[1])
        weights = Weights(W_enc=self.W_enc_FD.T, b_enc=zeros_F, W_dec=self.W_dec_FD, b_dec=zeros_D)
        return Dictionary(weights=fold(weights, scale=scale), rule=Linear(), subtract_b_dec=False)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Linear` and that has no biases."""
        shape = self.W_enc_FD.T.shape
        weights = adopted(dictionary, shape=shape, rule=Linear(), subtract_b_dec=False, scale=scale)
        if bool(weights.b_enc.any()) or bool(weights.b_dec.any()):
            raise ConfigError("the dictionary to start from takes a mean off, which this kind does not")
        take_over(weights, self.W_enc_FD, nn.Parameter(weights.b_enc), self.W_dec_FD, nn.Parameter(weights.b_dec))

    def _codes(self, x_ND: Tensor) -> Tensor:
        return x_ND @ self.W_enc_FD.T


def counted(codes_NF: Float[Tensor, "N F"], threshold: float, bandwidth: float) -> Float[Tensor, "N F"]:
    """1 where |code| > threshold, else 0; its derivative is that of a ramp of `bandwidth` around the threshold."""
    ramp_NF = ((codes_NF.abs() - threshold) / bandwidth + 0.5).clamp(0, 1)
    return ramp_NF + ((codes_NF.abs() > threshold).to(codes_NF) - ramp_NF).detach()
