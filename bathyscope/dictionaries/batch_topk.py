"""BatchTopK: k features per token on average, more where a token needs more (Bussmann et al. 2024, arXiv 2412.06410).

c = the k·N largest of ReLU(pre) in a batch of N tokens,  pre = (x - b_pre) @ W_enc + b_enc,  x̂ = c @ W_dec + b_pre
L = ‖x - x̂‖² / Var(x) + α · ‖e - ê‖² / Var(e),  e = x - x̂ without gradient, ê the dead features' guess of e
once trained:  c = ReLU(pre) · 1[pre > θ],  θ the running average of the least code kept in a batch

The choice over a batch is for training alone: `encode` and the finished dictionary use θ, so that a token's code does
not depend on its batch mates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.aligned import MayBeAligned, align, align_gradients, require_aligned
from bathyscope.dictionaries.auxiliary import auxiliary_loss, default_k_aux, share_of_variation
from bathyscope.dictionaries.batch_selection import (
    Prefixes,
    Selection,
    check_selection,
    k_at,
)
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.above import encode_above, select_batch
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.moments import Moments, moments
from bathyscope.dictionaries.kernels.nested import NestedError, nested_error
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.kernels.unit_rows import project_gradient, unit_rows
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.running_threshold import RunningThreshold, least_kept, single_threshold
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold

CALIBRATION_ROWS = 2048
"""Activations of the first sample from which the threshold begins, evenly spaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTopK:
    """BatchTopK with an auxiliary loss that revives dead features. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Mean number of active features per token."""
    k_start: int | None = None
    """Mean number of active features at the start of the run; None is 4·k, at most F/6. Needs a k_anneal."""
    k_anneal: float = 0.5
    """Share of the run over which the number of active features falls to k, linearly; 0 is k throughout."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead (10 million on far longer runs)."""
    threshold_rate: float = 0.05
    """Share of the newest batch in the running threshold; .001 in the paper, too slow for runs of hundreds of steps."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""
    aligned: bool = False
    """Whether each encoder row keeps the inner product 1 with its decoder row, see `aligned.py`."""

    def __post_init__(self) -> None:
        check_selection(self)

    def optimisation(self, d_model: int) -> Optimisation:
        """That of TopK: a high rate that falls over most of the run."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`: the part that is learnt has unit variance, however large the mean."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "BatchTopKTrainee":
        """A trainee with random unit decoder rows and the encoder copied from them."""
        return BatchTopKTrainee(self, d_model, generator, prefixes=Prefixes((self.n_features,), (1.0,)))


class BatchTopKTrainee(Trainee):
    """A dictionary that learns with codes selected over a batch; the error is that of one prefix or of several."""

    def __init__(self, kind: Selection, d_model: int, generator: torch.Generator, *, prefixes: Prefixes) -> None:
        super().__init__()
        W_enc_FD, W_dec_FD = start.tied_start(kind.n_features, d_model, norm=1.0, generator=generator)
        self.kind, self.prefixes = kind, prefixes
        self.k_aux = kind.k_aux or default_k_aux(d_model)
        self.W_enc_FD, self.W_dec_FD = nn.Parameter(W_enc_FD), nn.Parameter(W_dec_FD)
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_pre_D = nn.Parameter(torch.zeros(d_model))
        self.silence = Silence(kind.n_features)
        self.threshold = RunningThreshold(kind.threshold_rate)
        self.is_aligned = isinstance(kind, MayBeAligned) and kind.aligned

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """`b_pre` and a first threshold from the data."""
        with torch.no_grad():
            self.b_pre_D.copy_(start.bias_start(x_ND, self.kind.bias_start))
            some_ND = x_ND[:: -(-len(x_ND) // CALIBRATION_ROWS)].to(self.b_pre_D)
            self.threshold.update(least_kept(self.select(some_ND, progress=0.0).values_NK))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands; the auxiliary one counts features as dead that were silent up to this batch, included."""
        target, pairs = moments(x_ND), self.select(x_ND, progress=progress)
        error = self.error(x_ND, pairs)
        fires_F = Codes(pairs.values_NK.detach(), pairs.indices_NK, self.kind.n_features).fires()
        parts = self.parts(x_ND, target, error, fires_F)
        return Loss.sum_of(
            parts,
            squared_error=error.squared_G[-1],
            target=target,
            fires_F=fires_F,
            seen={"least kept": least_kept(pairs.values_NK)},
        )

    def select(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Pairs:
        """The batch's codes for training: its k·N largest positive pre-activations."""
        n_keep = round(k_at(self.kind, progress) * len(x_ND))
        return select_batch(x_ND, self.b_pre_D, self.W_enc_FD, self.b_enc_F, n_keep)

    def error(self, x_ND: Float[Tensor, "N D"], pairs: Pairs) -> NestedError:
        """How far each prefix's reconstruction from these codes is from the batch."""
        return nested_error(x_ND, *pairs, self.W_dec_FD, self.b_pre_D, self.prefixes.sizes)

    def parts(
        self, x_ND: Float[Tensor, "N D"], target: Moments, error: NestedError, fires_F: Int[Tensor, " F"]
    ) -> dict[str, Float[Tensor, ""]]:
        """The summands of the loss, by name."""
        weights_G = error.squared_G.new_tensor(self.prefixes.weights)
        parts = {"error": share_of_variation(weights_G @ error.squared_G, target)}
        if self.kind.aux_coefficient > 0:
            dead_F = self.silence.after(fires_F, len(x_ND)) >= self.kind.dead_after_tokens
            parts["auxiliary"] = self.kind.aux_coefficient * self.auxiliary(x_ND, error.residual_ND, dead_F)
        return parts

    def auxiliary(
        self, x_ND: Float[Tensor, "N D"], residual_ND: Float[Tensor, "N D"], dead_F: Bool[Tensor, " F"]
    ) -> Float[Tensor, ""]:
        """`‖e - ê‖² / Var(e)`, 0 when no feature is dead. The residual is a fixed target."""
        weights = (self.W_enc_FD, self.b_enc_F, self.W_dec_FD)
        return auxiliary_loss(x_ND - self.b_pre_D, residual_ND, dead_F, *weights, k_aux=self.k_aux)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations above the running threshold, each token for itself."""
        bound = float(self.threshold.read())
        pairs = encode_above(x_ND, self.b_pre_D, self.W_enc_FD, self.b_enc_F, bound)
        return Codes(*pairs, self.kind.n_features)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_pre_D)

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        if self.is_aligned:
            align_gradients(self.W_enc_FD, self.W_dec_FD)
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1; the threshold follows."""
        unit_rows(self.W_dec_FD)
        if self.is_aligned:
            align(self.W_enc_FD, self.W_dec_FD)
        self.threshold.update(loss.seen["least kept"])

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary: what is above the threshold is kept."""
        threshold_F = self.threshold.read().expand(self.kind.n_features)
        weights = Weights(
            W_enc=self.W_enc_FD.T, b_enc=self.b_enc_F, W_dec=self.W_dec_FD, b_dec=self.b_pre_D, threshold=threshold_F
        )
        folded = fold(weights, scale=scale, compares_features=True)
        return Dictionary(weights=folded, rule=Above(), subtract_b_dec=True)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Above` with one threshold for all features."""
        weights = adopted(dictionary, shape=self.W_enc_FD.T.shape, rule=Above(), subtract_b_dec=True, scale=scale)
        threshold = single_threshold(weights)
        if self.is_aligned:
            require_aligned(weights.W_enc, weights.W_dec)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_pre_D)
        self.threshold.set(threshold)
