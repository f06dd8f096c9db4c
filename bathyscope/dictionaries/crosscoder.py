"""Crosscoder: one set of codes for several places side by side (Lindsey et al. 2024; BatchTopK: arXiv 2504.02922).

c = act(Σ_m x^m @ W_enc^m + b),  x̂^m = c @ W_dec^m + b^m,  m over hookpoints or models
batch-topk:  c = the k·N largest of ReLU(pre) in a batch,  L = Σ_m ‖x^m - x̂^m‖² / Var(x) + α · AuxK
l1:          c = ReLU(pre),                                L = Σ_m ‖x^m - x̂^m‖² + λ Σ_f c_f Σ_m ‖d_f^m‖

Each block is scaled to unit variance by a scalar of its own, so that all count alike. With batch-topk the rows
(d_f^1, …, d_f^M) have length 1 together: a code is then the length that its feature adds to the whole reconstruction,
and the selection, which takes what lowers the summed error most, favours neither shared nor exclusive features. The sum
Σ_m ‖d_f^m‖ does: it charges a feature shared by two equal blocks √2 times an exclusive one's price, and so L1 makes
features look exclusive that are not (complete shrinkage). Look at `evaluation.latent_scaling` before believing in any.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.adopt import adopted, take_over
from bathyscope.dictionaries.batch_selection import Prefixes, check_selection
from bathyscope.dictionaries.batch_topk import BatchTopKTrainee
from bathyscope.dictionaries.blocks import Block, BlockScale, Scale, equal_widths
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.density import Density
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.relu_step import dense_relu_step, sparse_relu_step
from bathyscope.dictionaries.ranges import require_not_negative, require_positive, require_shares_of_run
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.schedule import Optimisation, ramp, short_run, sized_rate
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError

OTHER_SCALARS = 1.5
"""Ratio of thresholds up to which a dictionary is gone on from: other data have blocks of other relative size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crosscoder:
    """Codes shared by several places. Each place's activations are scaled to `E‖x - x̄‖² = D` by a scalar of its own."""

    n_features: int = 4608
    """F, number of features."""
    n_blocks: int = 2
    """Places side by side in a batch, of equal width unless `widths` says otherwise."""
    widths: tuple[int, ...] | None = None
    """Width of each place; None for equal ones."""
    sparsity: Literal["batch-topk", "l1"] = "batch-topk"
    """How few features are active; l1 makes shared features look exclusive and is there for comparison."""
    k: int = 32
    """Mean number of active features per token with batch-topk (100 of 16,384 in the paper)."""
    l1: float = 2.0
    """λ with l1; larger means fewer active features."""
    l1_warm_up: float = 0.05
    """Share of the run over which λ rises from 0, linearly."""
    decoder_norm: float = 0.08
    """Length of each block's decoder rows at the start with l1."""
    k_start: int | None = None
    """Mean number of active features at the start of the run; None is 4·k, at most F/6. Needs a k_anneal."""
    k_anneal: float = 0.0
    """Share of the run over which the number of active features falls to k, linearly; 0 is k throughout."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead."""
    threshold_rate: float = 0.05
    """Share of the newest batch in the running threshold."""
    bias_start: start.BiasStart = "geometric-median"
    """Where the biases begin."""

    def __post_init__(self) -> None:
        check_selection(self)
        if self.n_blocks < 2:
            raise ConfigError(f"n_blocks is {self.n_blocks}: expected two places or more")
        if self.widths is not None and (len(self.widths) != self.n_blocks or min(self.widths) <= 0):
            raise ConfigError(f"widths are {self.widths}: expected {self.n_blocks} positive numbers, or None")
        require_not_negative(self, "l1")
        require_shares_of_run(self, "l1_warm_up")
        require_positive(self, "decoder_norm")

    @property
    def reads_previous(self) -> bool:
        """The places are hookpoints or models."""
        return False

    def split(self, width: int) -> tuple[int, ...]:
        """Widths of the places."""
        if self.widths is None:
            return equal_widths(width, self.n_blocks, what="crosscoder")
        if sum(self.widths) != width:
            raise ConfigError(f"widths {self.widths} make {sum(self.widths)}, the batches are {width} wide")
        return self.widths

    def optimisation(self, d_model: int) -> Optimisation:
        """That of BatchTopK, or of ReLU with l1."""
        if self.sparsity == "batch-topk":
            return short_run(n_features=self.n_features, d_model=d_model)
        return Optimisation(lr=sized_rate(2e-3, n_features=self.n_features, d_model=d_model), warm_up=0.02, decay=0.2)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> BlockScale:
        """A scalar for each place."""
        widths = self.split(x_ND.shape[1])
        return BlockScale(scalars=tuple(map(start.unit_variance, x_ND.split(widths, dim=1))), widths=widths)

    def build(self, d_model: int, *, generator: torch.Generator) -> "CrosscoderTrainee":
        """A trainee with random decoder rows and the encoder copied from them."""
        widths = self.split(d_model)
        if self.sparsity == "l1":
            return CrosscoderTrainee(self, widths, SummedNormsTrainee(self, widths, generator))
        whole = Prefixes((self.n_features,), (1.0,))
        return CrosscoderTrainee(self, widths, BatchTopKTrainee(self, d_model, generator, prefixes=whole))


class CrosscoderTrainee(Trainee):
    """A trainee over all blocks together, that takes each block's scalar out again."""

    def __init__(
        self, kind: Crosscoder, widths: tuple[int, ...], inner: "BatchTopKTrainee | SummedNormsTrainee"
    ) -> None:
        super().__init__()
        self.kind, self.widths, self.inner = kind, widths, inner

    @property
    def silence(self) -> Silence:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the trainee over all blocks."""
        return self.inner.silence

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """Biases, and the threshold where there is one."""
        self.inner.start(x_ND)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """The sum over all blocks."""
        return self.inner.loss(x_ND, progress=progress)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations of all blocks."""
        return self.inner.encode(x_ND)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations of all blocks."""
        return self.inner.decode(codes)

    def before_step(self) -> None:
        """As the trainee over all blocks."""
        self.inner.before_step()

    def after_step(self, loss: Loss) -> None:
        """As the trainee over all blocks."""
        self.inner.after_step(loss)

    def fold(self, scale: Scale) -> Dictionary:
        """The neutral dictionary over activations as the models make them; decoder rows have length 1 over all."""
        blocks = tuple(Block(f"block {number}", width) for number, width in enumerate(self.widths))
        return dataclasses.replace(_rescaled(self.inner.fold(1.0), scale), blocks=blocks)

    def adopt(self, dictionary: Dictionary, scale: Scale) -> None:
        """Weights of a crosscoder of this form and size."""
        widths = tuple(block.width for block in dictionary.blocks)
        if dictionary.d_model == sum(self.widths) and widths != self.widths:
            raise ConfigError(f"the dictionary to start from has blocks of widths {widths}, this kind {self.widths}")
        inverse = (
            BlockScale(scalars=tuple(1 / s for s in scale.scalars), widths=scale.widths)
            if isinstance(scale, BlockScale)
            else 1 / scale
        )
        fits = dictionary.d_model == sum(self.widths)
        self.inner.adopt(_with_one_threshold(_rescaled(dictionary, inverse)) if fits else dictionary, 1.0)


class SummedNormsTrainee(Trainee):
    """ReLU codes under λ Σ_f c_f Σ_m ‖d_f^m‖ with free decoder norms."""

    def __init__(self, kind: Crosscoder, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        rows = [start.tied_start(kind.n_features, d, norm=kind.decoder_norm, generator=generator) for d in widths]
        self.kind, self.widths = kind, widths
        self.W_enc_FD = nn.Parameter(torch.cat([row.W_enc_FD for row in rows], dim=1))
        self.W_dec_FD = nn.Parameter(torch.cat([row.W_dec_FD for row in rows], dim=1))
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_dec_D = nn.Parameter(torch.zeros(sum(widths)))
        self.silence, self.density = Silence(kind.n_features), Density(kind.n_features)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """Biases of all blocks from the data."""
        with torch.no_grad():
            self.b_dec_D.copy_(start.bias_start(x_ND, self.kind.bias_start))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands as means over tokens, the penalty with λ as far as it has risen. Sparse batches as pairs."""
        lengths_F = torch.stack([part.norm(dim=1) for part in self.W_dec_FD.split(self.widths, dim=1)]).sum(0)
        take_step = sparse_relu_step if self.density.is_sparse(x_ND) else dense_relu_step
        step = take_step(x_ND, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D, lengths_F)
        l1, n = self.kind.l1 * ramp(progress, self.kind.l1_warm_up), max(len(x_ND), 1)
        return Loss.sum_of(
            {"error": step.squared / n, "sparsity": l1 * step.size / n},
            squared_error=step.squared,
            target=moments(x_ND),
            fires_F=step.fires_F,
            seen={"density": step.fires_F.sum() / n},
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
        """How dense codes were. Decoder norms are free."""
        self.density.update(loss)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary: codes become c_f‖d_f‖, with the length over all blocks."""
        weights = Weights(W_enc=self.W_enc_FD.T, b_enc=self.b_enc_F, W_dec=self.W_dec_FD, b_dec=self.b_dec_D)
        return Dictionary(weights=fold(weights, scale=scale), rule=Positive(), subtract_b_dec=False)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Weights of a dictionary whose rule is `Positive`."""
        weights = adopted(dictionary, shape=self.W_enc_FD.T.shape, rule=Positive(), subtract_b_dec=False, scale=scale)
        take_over(weights, self.W_enc_FD, self.b_enc_F, self.W_dec_FD, self.b_dec_D)

    def _codes(self, x_ND: Tensor) -> Tensor:
        return torch.addmm(self.b_enc_F, x_ND, self.W_enc_FD.T).relu()


def _rescaled(dictionary: Dictionary, scale: Scale) -> Dictionary:
    """The dictionary of activations `x`, from one of `scale · x`; rows of length 1 again, thresholds with them."""
    w = dictionary.weights
    row_D = scale.row() if isinstance(scale, BlockScale) else torch.full((dictionary.d_model,), scale).double()
    wide = dataclasses.replace(
        w,
        W_enc=w.W_enc.double() * row_D[:, None],
        b_enc=w.b_enc.double(),
        W_dec=w.W_dec.double() / row_D,
        b_dec=w.b_dec.double() / row_D,
        threshold=None if w.threshold is None else w.threshold.double(),
    )
    return dataclasses.replace(dictionary, weights=fold(wide, scale=1.0))


def _with_one_threshold(dictionary: Dictionary) -> Dictionary:
    """The dictionary with the mean of its thresholds for all features, if they are near each other; else as it is.

    Scalars of other data than it was trained on change the lengths of rows, and thresholds with them, feature by
    feature. In training there is one threshold, which follows the batches from here on.
    """
    threshold_F = dictionary.weights.threshold
    if threshold_F is None or not 0 < float(threshold_F.max()) <= OTHER_SCALARS * float(threshold_F.min()):
        return dictionary
    weights = dataclasses.replace(dictionary.weights, threshold=threshold_F.mean().expand_as(threshold_F))
    return dataclasses.replace(dictionary, weights=weights)
