"""JumpReLU: a threshold of its own for each feature (Rajamanoharan et al. 2024, arXiv 2407.14435).

c = pre·1[pre > θ],  pre = (x - b_dec) @ W_enc + b_enc,  x̂ = c @ W_dec + b_dec,  θ ≥ 0,  r = L0 / L*(t)
L = ‖x - x̂‖² / Var(x) + (r - 1)² + π·(r - 1) + ρ Σ_dead (θ - mean pre),   π ← π + G · Δt · log r

The jump has no slope in θ: `kernels/jump.py` states the straight-through gradients. Three things hold the target L*(t)
of `l0_control.py`. The quadratic penalty alone ended 5 to 25 % above it on planted data, by its weight. The price
π, an integral, takes that away, but thresholds follow it at the pace of the optimiser, too slow for short runs. So all
thresholds also move together by a part of a Newton step, which leaves to the loss how they differ: runs of 300 to 1,500
steps and targets of 2 to 24 ended within 5 %.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.auxiliary import share_of_variation
from bathyscope.dictionaries.codes import Codes, fires_of
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.density import Density
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.above import encode_above_counted
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.error import reconstruction_error
from bathyscope.dictionaries.kernels.jump import at_features, jump
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.l0_control import L0_ANNEAL, L0Control, check_target, seen_by, threshold_at
from bathyscope.dictionaries.ranges import require_not_negative, require_positive
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError

Sparsity = Literal["target", "target-per-token", "l0", "tanh"]
"""target: as above; target-per-token: (r_n - 1)² of each token n instead; l0: λ·L0; tanh: λ Σ_f tanh(4·c_f)."""

NEWTON_SHARE = 0.1
"""Part of the Newton step to the target that all thresholds make together after a step of the optimiser."""
GAIN = 10.0
"""G: how fast the price moves, per run."""
MOST_PRICE = 10.0
"""Largest size of the price; negative where the reconstruction asks for fewer features than the target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JumpReLU:
    """JumpReLU held at a given L0. Activations are scaled to `E‖x - x̄‖² = D`; θ and ε are in these units."""

    n_features: int = 4608
    """F, number of features."""
    l0: int | None = 32
    """L*, mean number of active features per token, for the two targets; None with a fixed weight (l0, tanh)."""
    l0_anneal: float = L0_ANNEAL
    """Share of the run over which L0 comes down to l0 from where the dictionary began; 0 asks for l0 throughout."""
    sparsity: Sparsity = "target"
    """What is charged: distance of the mean L0 from l0, distance of each token's, L0, or tanh of codes."""
    weight: float | None = None
    """λ, weight of the penalty; None takes 1 for a target and 0.003 per active feature otherwise."""
    bandwidth: float = 1.0
    """ε, width of the window around θ in which pre-activations tell the threshold where to go."""
    ste_to_inputs: bool = False
    """Whether gradients through the window also reach encoder and biases (Anthropic, January 2025)."""
    revive: float = 1e-2
    """ρ, weight of the distance of dead features from their thresholds; 0 leaves dead features alone."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_dec` begins."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "bandwidth", "dead_after_tokens")
        require_not_negative(self, "weight", "revive")
        check_target(self.l0, self.l0_anneal, self.n_features)
        if self.has_target != (self.l0 is not None):
            remedy = "give l0" if self.has_target else "set l0 to None"
            raise ConfigError(f"sparsity {self.sparsity!r} does not go with l0 = {self.l0}: {remedy}")

    @property
    def has_target(self) -> bool:
        """Whether L0 is held at a target."""
        return self.sparsity in ("target", "target-per-token")

    @property
    def lambda_(self) -> float:
        """λ, as given or by default."""
        return self.weight if self.weight is not None else (1.0 if self.has_target else 0.003)

    def optimisation(self, d_model: int) -> Optimisation:
        """That of TopK: what short runs (under 10 million tokens) gain most from."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`: pre-activations of a random unit row have unit variance, whatever the width."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "JumpReLUTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return JumpReLUTrainee(self, d_model, generator)


class _Batch(NamedTuple):
    """What the penalties see of a batch, entries per pair [N, K] or per feature [N, F]."""

    codes: Float[Tensor, "N _"]
    steps: Float[Tensor, "N _"]
    squared_error: Float[Tensor, ""]
    fires_F: Int[Tensor, " F"]
    n_near: Int[Tensor, ""]
    """Number of entries above the lower end of their window."""


class JumpReLUTrainee(Trainee):
    """A JumpReLU dictionary that learns."""

    def __init__(self, kind: JumpReLU, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind = kind
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_dec_D = nn.Parameter(torch.zeros(d_model))
        self.threshold_F = nn.Parameter(torch.ones(kind.n_features))
        self.silence, self.density = Silence(kind.n_features), Density(kind.n_features)
        self.control = L0Control(kind.l0 or 1, gain=GAIN, share=kind.l0_anneal, limit=MOST_PRICE, longest_step=0.02)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_dec` from the data, and one threshold for all at which L0 is a multiple of the target."""
        with torch.no_grad():
            self.b_dec_D.copy_(start.bias_start(x_ND, self.kind.bias_start))
            rows, half = (self.b_dec_D, self.W_enc_FD), self.kind.bandwidth / 2
            threshold, n_near = threshold_at(x_ND, *rows, target=self.kind.l0, below=half)
            self.threshold_F.fill_(threshold)
            self.density.begin_at(n_near)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """All summands. Sparse batches on a CPU are computed from pairs alone; see `Density`."""
        target = moments(x_ND)
        batch = self.sparse(x_ND) if self.density.is_sparse(x_ND) else self.dense(x_ND)
        parts = {"error": share_of_variation(batch.squared_error, target)}
        parts["sparsity"] = self._sparsity(batch, torch.full_like(self.control.l0, progress))
        if self.kind.revive > 0:
            dead_F = self.silence.after(batch.fires_F, len(x_ND)) >= self.kind.dead_after_tokens
            parts["revival"] = self.kind.revive * self.distance(x_ND, dead_F)
        return Loss.sum_of(
            parts,
            squared_error=batch.squared_error,
            target=target,
            fires_F=batch.fires_F,
            seen={**seen_by(batch.fires_F, len(x_ND), progress), "density": batch.n_near / max(len(x_ND), 1)},
        )

    def dense(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The definition: every pre-activation. Holds several [N, F]."""
        pre_NF = (x_ND - self.b_dec_D) @ self.W_enc_FD.T + self.b_enc_F
        codes_NF, steps_NF = self._jump(pre_NF, self.threshold_F)
        squared_error = (x_ND - codes_NF @ self.W_dec_FD - self.b_dec_D).square().sum()
        n_near = (pre_NF.detach() > self.threshold_F.detach() - self.kind.bandwidth / 2).count_nonzero()
        return _Batch(codes_NF, steps_NF, squared_error, fires_of(codes_NF), n_near)

    def sparse(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The same from the pairs above the lower end of the window: below it nothing has a gradient."""
        bound_F = self.threshold_F.detach() - self.kind.bandwidth / 2
        kept = encode_above_counted(x_ND, self.b_dec_D, self.W_enc_FD, self.b_enc_F, bound_F)
        is_real_NK = torch.arange(kept.values_NK.shape[1], device=x_ND.device) < kept.n_kept_N[:, None]
        pre_NK = torch.where(is_real_NK, kept.values_NK, -torch.inf)
        codes_NK, steps_NK = self._jump(pre_NK, at_features(self.threshold_F, kept.indices_NK))
        error = reconstruction_error(x_ND, codes_NK, kept.indices_NK, self.W_dec_FD, self.b_dec_D)
        fires_F = Codes(codes_NK.detach(), kept.indices_NK, self.kind.n_features).fires()
        return _Batch(codes_NK, steps_NK, error.squared, fires_F, kept.n_kept_N.sum())

    def distance(self, x_ND: Float[Tensor, "N D"], dead_F: Bool[Tensor, " F"]) -> Float[Tensor, ""]:
        """`mean_n Σ_f ReLU(θ_f - pre_nf)` over dead features.

        A dead feature is silent in this batch too: no pre-activation is above θ, so the mean can be taken first.
        """
        if x_ND.device.type == "cpu" and not bool(dead_F.any()):
            return x_ND.new_zeros(())
        mean_pre_F = self.W_enc_FD @ (x_ND.mean(0) - self.b_dec_D) + self.b_enc_F
        return torch.where(dead_F, self.threshold_F - mean_pre_F, 0).sum()

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        pre_NF = (x_ND - self.b_dec_D) @ self.W_enc_FD.T + self.b_enc_F
        return Above().keep(pre_NF, self.threshold_F)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_dec_D)

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1, thresholds are ≥ 0, the price follows L0."""
        unit_rows(self.W_dec_FD)
        self.control.update(loss)
        self.density.update(loss)
        with torch.no_grad():
            if self.kind.has_target:
                self.threshold_F.add_(self._shift(loss))
            self.threshold_F.clamp_(min=0)

    def _shift(self, loss: Loss) -> Tensor:
        """What all thresholds move by towards the target: a part of a Newton step.

        The slope of L0 is read off the lower half of the window: so many pre-activations lie in it per unit of θ.
        """
        l0, half = loss.seen["l0"], self.kind.bandwidth / 2
        slope = (loss.seen["density"] - l0).clamp_min(1e-3) / half
        shift = NEWTON_SHARE * (l0 - self.control.wanted(loss.seen["progress"])) / slope
        return shift.clamp(-NEWTON_SHARE * half, NEWTON_SHARE * half)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary."""
        weights = Weights(
            W_enc=self.W_enc_FD.T,
            b_enc=self.b_enc_F,
            W_dec=self.W_dec_FD,
            b_dec=self.b_dec_D,
            threshold=self.threshold_F,
        )
        return Dictionary(weights=fold(weights, scale=scale), rule=Above(), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights and thresholds of a dictionary whose rule is `Above`."""
        shape = self.W_enc_FD.T.shape
        weights = adopted(dictionary, shape=shape, rule=Above(), subtract_b_dec=True, scale=scale)
        assert weights.threshold is not None, "a dictionary that keeps what is above a threshold holds one"
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D)
        with torch.no_grad():
            self.threshold_F.copy_(weights.threshold.clamp_min(0))

    def _jump(self, pre: Tensor, threshold: Tensor) -> tuple[Tensor, Tensor]:
        return jump(pre, threshold, bandwidth=self.kind.bandwidth, to_inputs=self.kind.ste_to_inputs)

    def _sparsity(self, batch: _Batch, progress: Tensor) -> Tensor:
        n = max(len(batch.steps), 1)
        match self.kind.sparsity:
            case "target" | "target-per-token":
                ratio_N = batch.steps.sum(1) / self.control.wanted(progress)
                ratio = ratio_N.sum() / n
                is_each = self.kind.sparsity == "target-per-token"
                distance = (ratio_N - 1).square().sum() / n if is_each else (ratio - 1).square()
                return self.kind.lambda_ * (distance + self.control.integral * (ratio - 1))
            case "l0":
                return self.kind.lambda_ * batch.steps.sum() / n
            case "tanh":
                return self.kind.lambda_ * (4 * batch.codes).tanh().sum() / n

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "JumpReLUTrainee":
        """Thresholds stay float32 when the module is cast to half precision: their steps are smaller than its grain."""
        before_F = self.threshold_F.detach().clone()
        super()._apply(fn, recurse)
        if self.threshold_F.dtype in (torch.float16, torch.bfloat16):
            self.threshold_F.data = before_F.to(self.threshold_F.device)
        return self
