"""Gated: one path decides what is active, the other how much (Rajamanoharan et al. 2024, arXiv 2404.16014).

π = (x - b_dec) @ W_gate + b_gate,  m = ReLU((x - b_dec) @ (W_gate·exp(r_mag)) + b_mag),  c = 1[π > 0] ⊙ m
L = ‖x - x̂(c)‖² + λ‖ReLU(π)‖₁ + ‖x - x̂(ReLU(π))‖²  as means over tokens, the last with the decoder held fixed

W_gate and b_gate learn from the last two summands, r_mag and b_mag from the first alone. The last two touch neither
W_dec nor b_dec, also not where b_dec is taken off x. Finished, it is a JumpReLU dictionary.
"""

import dataclasses
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.codes import Codes, fires_of
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.density import Density
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.above import encode_above
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.error import reconstruction_error
from bathyscope.dictionaries.kernels.jump import at_features
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.l0_control import (
    L0_ANNEAL,
    check_target,
    seen_by,
    threshold_at,
    weight_control,
    weight_factor,
)
from bathyscope.dictionaries.ranges import require_not_negative, require_positive, require_shares_of_run
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.schedule import Optimisation, ramp, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold


@dataclass(frozen=True, slots=True, kw_only=True)
class Gated:
    """Gate and magnitude with unit decoder rows. Activations are scaled to `E‖x - x̄‖² = D`, which λ is meant for."""

    n_features: int = 4608
    """F, number of features."""
    l1: float = 5.0
    """λ, weight of the gate's L1 penalty; larger means fewer active features. With `l0`, where λ begins."""
    l0: int | None = None
    """Mean number of active features per token that λ is moved to reach; None keeps λ as it is."""
    l0_anneal: float = L0_ANNEAL
    """Share of the run over which L0 comes down to l0 from where the dictionary began; 0 asks for l0 throughout."""
    l1_warm_up: float = 0.05
    """Share of the run over which λ rises from 0, linearly."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead in the figures."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_dec` begins."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "dead_after_tokens")
        require_not_negative(self, "l1")
        require_shares_of_run(self, "l1_warm_up")
        check_target(self.l0, self.l0_anneal, self.n_features, l1=self.l1)

    def optimisation(self, d_model: int) -> Optimisation:
        """Adam without momentum, as in the paper; a high rate that falls over most of the run.

        The same for runs of 8,000 steps, which gain nothing from less (docs/speed-training.md#learning-rate).
        """
        usual = short_run(n_features=self.n_features, d_model=d_model)
        return dataclasses.replace(usual, betas=(0.0, 0.999), tuned_steps=None)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "GatedTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return GatedTrainee(self, d_model, generator)


class _Batch(NamedTuple):
    """What the loss is made of, as sums over tokens."""

    squared_error: Float[Tensor, ""]
    gate_error: Float[Tensor, ""]
    """Σ_n ‖x - x̂(ReLU(π))‖²."""
    gate_size: Float[Tensor, ""]
    """Σ_n ‖ReLU(π)‖₁."""
    fires_F: Int[Tensor, " F"]
    n_open: Int[Tensor, ""]
    """Number of open gates."""


class GatedTrainee(Trainee):
    """A gated dictionary that learns. `W_enc_FD` is the gate's; `r_mag_F` is the log of the other path's scale."""

    def __init__(self, kind: Gated, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind = kind
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_gate_F, self.b_mag_F, self.r_mag_F = (nn.Parameter(torch.zeros(kind.n_features)) for _ in range(3))
        self.b_dec_D = nn.Parameter(torch.zeros(d_model))
        self.silence, self.density = Silence(kind.n_features), Density(kind.n_features)
        self.control = weight_control(kind.l0, kind.l0_anneal)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_dec` from the data, and one `b_gate` for all at which L0 is a multiple of the target."""
        with torch.no_grad():
            self.b_dec_D.copy_(start.bias_start(x_ND, self.kind.bias_start))
            threshold, n_active = threshold_at(x_ND, self.b_dec_D, self.W_enc_FD, target=self.kind.l0)
            self.b_gate_F.fill_(-threshold)
            self.density.begin_at(n_active)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """All three summands, the penalty with λ as far as it has risen."""
        batch = self.sparse(x_ND) if self.density.is_sparse(x_ND) else self.dense(x_ND)
        l1 = self.kind.l1 * ramp(progress, self.kind.l1_warm_up) * weight_factor(self.control, progress)
        parts = {
            "error": batch.squared_error / len(x_ND),
            "sparsity": l1 * batch.gate_size / len(x_ND),
            "gate_error": batch.gate_error / len(x_ND),
        }
        return Loss.sum_of(
            parts,
            squared_error=batch.squared_error,
            target=moments(x_ND),
            fires_F=batch.fires_F,
            seen={**seen_by(batch.fires_F, len(x_ND), progress), "density": batch.n_open / max(len(x_ND), 1)},
        )

    def dense(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The definition. Holds several [N, F]."""
        reads_NF = (x_ND - self.b_dec_D) @ self.W_enc_FD.T
        gate_NF = ((x_ND - self.b_dec_D.detach()) @ self.W_enc_FD.T + self.b_gate_F).relu()
        codes_NF = (self.r_mag_F.exp() * reads_NF + self.b_mag_F).relu() * (gate_NF.detach() > 0)
        squared_error = (x_ND - codes_NF @ self.W_dec_FD - self.b_dec_D).square().sum()
        gate_error = (x_ND - gate_NF @ self.W_dec_FD.detach() - self.b_dec_D.detach()).square().sum()
        return _Batch(squared_error, gate_error, gate_NF.sum(), fires_of(codes_NF), gate_NF.count_nonzero())

    def sparse(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The same from the open gates. Padding has a gate of 0, so that it is closed."""
        pi_NK, indices_NK = encode_above(x_ND, self.b_dec_D, self.W_enc_FD, self.b_gate_F, 0.0)
        is_open_NK = pi_NK.detach() > 0
        none_F = self.W_enc_FD @ (self.b_dec_D - self.b_dec_D.detach())  # 0, with a gradient that undoes π's to b_dec
        gate_NK = pi_NK + at_features(none_F, indices_NK) * is_open_NK
        reads_NK = pi_NK - at_features(self.b_gate_F, indices_NK)
        scales_NK, biases_NK = at_features(self.r_mag_F.exp(), indices_NK), at_features(self.b_mag_F, indices_NK)
        codes_NK = (scales_NK * reads_NK + biases_NK).relu() * is_open_NK
        error = reconstruction_error(x_ND, codes_NK, indices_NK, self.W_dec_FD, self.b_dec_D)
        held = self.W_dec_FD.detach(), self.b_dec_D.detach()
        gate_error = reconstruction_error(x_ND, gate_NK, indices_NK, *held)
        fires_F = Codes(codes_NK.detach(), indices_NK, self.kind.n_features).fires()
        return _Batch(error.squared, gate_error.squared, gate_NK.sum(), fires_F, is_open_NK.sum())

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        reads_NF = (x_ND - self.b_dec_D) @ self.W_enc_FD.T
        magnitudes_NF = (self.r_mag_F.exp() * reads_NF + self.b_mag_F).relu()
        return Codes.from_dense(magnitudes_NF * (reads_NF + self.b_gate_F > 0))

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_dec_D)

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1; λ follows L0."""
        unit_rows(self.W_dec_FD)
        self.density.update(loss)
        if self.control is not None:
            self.control.update(loss)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary: `π > 0` says the same as `pre > b_mag - exp(r_mag)·b_gate`, pre the other path's."""
        scale_F = self.r_mag_F.exp()
        weights = Weights(
            W_enc=(scale_F[:, None] * self.W_enc_FD).T,
            b_enc=self.b_mag_F,
            W_dec=self.W_dec_FD,
            b_dec=self.b_dec_D,
            threshold=self.b_mag_F - scale_F * self.b_gate_F,
        )
        return Dictionary(weights=fold(weights, scale=scale), rule=Above(), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Above`: both paths on one scale, b_gate from θ."""
        shape = self.W_enc_FD.T.shape
        weights = adopted(dictionary, shape=shape, rule=Above(), subtract_b_dec=True, scale=scale)
        assert weights.threshold is not None, "a dictionary that keeps what is above a threshold holds one"
        take_over(weights, self.W_enc_FD, self.b_mag_F, self.W_dec_FD, self.b_dec_D)
        with torch.no_grad():
            self.r_mag_F.zero_()
            self.b_gate_F.copy_(weights.b_enc - weights.threshold)
