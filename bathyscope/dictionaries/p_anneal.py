"""p-annealing: an L1 penalty that turns, step by step, into one that counts (Karvonen et al. 2024, arXiv 2408.00113).

c = ReLU((x - b_dec) @ W_enc + b_enc),  x̂ = c @ W_dec + b_dec
L = ‖x - x̂‖² + λ Σ_f [(c_f + η)^p - η^p]   as means over tokens;  p: 1 → p_end in equal steps,  λ ← λ · S_p / S_p'

S_p is the mean penalty of the last batches under the old p, S_p' under the new one: λ times the penalty does not jump.
η keeps the slope finite where a code begins; codes of 0 have no gradient.
"""

from collections.abc import Callable
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
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.l0_control import (
    L0_ANNEAL,
    check_target,
    restore_formats,
    seen_by,
    threshold_at,
    weight_control,
    weight_factor,
)
from bathyscope.dictionaries.ranges import require_not_negative, require_positive, require_shares_of_run
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.schedule import Optimisation, ramp, sized_rate
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError

ETA = 0.01
"""η, in units of scaled activations, where codes are of size 1 to 10."""
QUEUE = 10
"""Batches that S_p and S_p' are means over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PAnneal:
    """ReLU with an annealed Lp penalty, unit decoder rows. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features."""
    l1: float = 5.0
    """λ at p = 1; larger means fewer active features. With `l0`, where λ begins."""
    l0: int | None = None
    """Mean number of active features per token that λ is moved to reach; None leaves λ to the annealing alone."""
    l0_anneal: float = L0_ANNEAL
    """Share of the run over which L0 comes down to l0 from where the dictionary began; 0 asks for l0 throughout."""
    l1_warm_up: float = 0.05
    """Share of the run over which λ rises from 0, linearly."""
    p_end: float = 0.2
    """p at the end."""
    n_updates: int = 10
    """Steps in which p falls."""
    anneal_from: float = 0.2
    """Share of the run at which p begins to fall."""
    anneal_to: float = 0.8
    """Share of the run at which p has reached `p_end`."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead in the figures."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_dec` begins."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "n_updates", "dead_after_tokens")
        require_not_negative(self, "l1")
        require_shares_of_run(self, "l1_warm_up")
        check_target(self.l0, self.l0_anneal, self.n_features, l1=self.l1)
        if not 0 < self.p_end <= 1:
            raise ConfigError(f"p_end is {self.p_end}: expected a power above 0, at most 1")
        if not 0 <= self.anneal_from < self.anneal_to <= 1:
            given = f"anneal_from is {self.anneal_from} and anneal_to is {self.anneal_to}"
            raise ConfigError(f"{given}: expected shares of the run, the first below the second")

    def optimisation(self, d_model: int) -> Optimisation:
        """A high rate for short runs that falls while p does."""
        return Optimisation(lr=sized_rate(2e-3, n_features=self.n_features, d_model=d_model), warm_up=0.02, decay=0.5)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "PAnnealTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return PAnnealTrainee(self, d_model, generator)


class Annealing(nn.Module):
    """Where p is, and what λ has become. All in buffers that keep their number format when the module is cast."""

    stage: Int[Tensor, ""]
    """Updates so far."""
    log_factor: Float[Tensor, ""]
    """log of what λ has been multiplied by."""
    recent_Q2: Float[Tensor, "Q 2"]
    """Penalties of the last batches under p and under the next p, the latest first."""
    n_recent: Int[Tensor, ""]
    """Batches since the last update, at most QUEUE."""

    def __init__(self, kind: PAnneal) -> None:
        super().__init__()
        self.kind = kind
        for name in ("stage", "n_recent"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))
        self.register_buffer("log_factor", torch.zeros(()))
        self.register_buffer("recent_Q2", torch.zeros(QUEUE, 2))

    def power(self, *, ahead: int = 0) -> Float[Tensor, ""]:
        """p now, or after `ahead` more updates."""
        stage = (self.stage + ahead).clamp(max=self.kind.n_updates)
        return 1 - (1 - self.kind.p_end) * stage.to(self.log_factor.dtype) / self.kind.n_updates

    def update(self, loss: Loss) -> None:
        """Take in a step's two penalties; when an update is due, move p and rescale λ. One update per step at most."""
        row_2 = torch.stack([loss.seen["penalty"], loss.seen["next_penalty"]]).to(self.recent_Q2.dtype)
        self.recent_Q2.copy_(torch.cat([row_2[None], self.recent_Q2[:-1]]))
        self.n_recent.copy_((self.n_recent + 1).clamp(max=QUEUE))
        is_recent_Q = torch.arange(QUEUE, device=self.stage.device) < self.n_recent
        now, after = (self.recent_Q2 * is_recent_Q[:, None]).sum(0)
        done = (loss.seen["progress"] - self.kind.anneal_from) / (self.kind.anneal_to - self.kind.anneal_from)
        due = ((done * self.kind.n_updates).floor() + 1).clamp(0, self.kind.n_updates)
        is_due = due > self.stage
        can_compare = is_due & (now > 0) & (after > 0)
        step = torch.where(can_compare, now, 1).log() - torch.where(can_compare, after, 1).log()
        self.log_factor.add_(step)
        self.stage.add_(is_due.to(self.stage.dtype))
        self.n_recent.mul_(~is_due)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "Annealing":
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        restore_formats(self, before)
        return self


class _Batch(NamedTuple):
    """Codes per pair [N, K] or per feature [N, F], and what they leave."""

    codes: Float[Tensor, "N _"]
    squared_error: Float[Tensor, ""]
    fires_F: Int[Tensor, " F"]


class PAnnealTrainee(Trainee):
    """A ReLU dictionary that learns under an annealed penalty."""

    def __init__(self, kind: PAnneal, d_model: int, generator: torch.Generator) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind = kind
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_dec_D = nn.Parameter(torch.zeros(d_model))
        self.silence, self.density = Silence(kind.n_features), Density(kind.n_features)
        self.control, self.annealing = weight_control(kind.l0, kind.l0_anneal), Annealing(kind)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_dec` from the data, and one `b_enc` for all at which L0 is a multiple of the target."""
        with torch.no_grad():
            self.b_dec_D.copy_(start.bias_start(x_ND, self.kind.bias_start))
            threshold, n_active = threshold_at(x_ND, self.b_dec_D, self.W_enc_FD, target=self.kind.l0)
            self.b_enc_F.fill_(-threshold)
            self.density.begin_at(n_active)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands at the p and λ that the steps so far have led to; records the penalty at the next p too."""
        batch = self.sparse(x_ND) if self.density.is_sparse(x_ND) else self.dense(x_ND)
        n = len(x_ND)
        penalty = penalty_of(batch.codes, self.annealing.power()) / n
        with torch.no_grad():
            next_penalty = penalty_of(batch.codes, self.annealing.power(ahead=1)) / n
        weight = self.kind.l1 * ramp(progress, self.kind.l1_warm_up) * weight_factor(self.control, progress)
        parts = {
            "error": batch.squared_error / n,
            "sparsity": weight * self.annealing.log_factor.exp() * penalty,
        }
        seen = seen_by(batch.fires_F, n, progress)
        return Loss.sum_of(
            parts,
            squared_error=batch.squared_error,
            target=moments(x_ND),
            fires_F=batch.fires_F,
            seen={**seen, "density": seen["l0"], "penalty": penalty.detach(), "next_penalty": next_penalty},
        )

    def dense(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The definition. Holds several [N, F]."""
        codes_NF = self._codes(x_ND)
        squared_error = (x_ND - codes_NF @ self.W_dec_FD - self.b_dec_D).square().sum()
        return _Batch(codes_NF, squared_error, fires_of(codes_NF))

    def sparse(self, x_ND: Float[Tensor, "N D"]) -> _Batch:
        """The same from the active pairs."""
        codes_NK, indices_NK = encode_above(x_ND, self.b_dec_D, self.W_enc_FD, self.b_enc_F, 0.0)
        error = reconstruction_error(x_ND, codes_NK, indices_NK, self.W_dec_FD, self.b_dec_D)
        return _Batch(codes_NK, error.squared, Codes(codes_NK.detach(), indices_NK, self.kind.n_features).fires())

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return Codes.from_dense(self._codes(x_ND))

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_dec_D)

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1; p, λ and what they depend on move on."""
        unit_rows(self.W_dec_FD)
        self.density.update(loss)
        self.annealing.update(loss)
        if self.control is not None:
            self.control.update(loss)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary."""
        weights = Weights(W_enc=self.W_enc_FD.T, b_enc=self.b_enc_F, W_dec=self.W_dec_FD, b_dec=self.b_dec_D)
        return Dictionary(weights=fold(weights, scale=scale), rule=Positive(), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Positive`; p begins anew."""
        weights = adopted(dictionary, shape=self.W_enc_FD.T.shape, rule=Positive(), subtract_b_dec=True, scale=scale)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D)

    def _codes(self, x_ND: Tensor) -> Tensor:
        return torch.addmm(self.b_enc_F, x_ND - self.b_dec_D, self.W_enc_FD.T).relu()


def penalty_of(codes: Float[Tensor, "N _"], p: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """`Σ (c + η)^p - η^p` over codes above 0; the others get no gradient."""
    is_active = codes > 0
    each = (torch.where(is_active, codes, 0) + ETA) ** p - ETA**p
    return torch.where(is_active, each, 0).sum()
