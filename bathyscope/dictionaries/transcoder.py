"""Transcoder: what a layer writes, from what it reads (Dunefsky et al. 2024, arXiv 2406.11944; skip: 2501.18823).

c = ReLU(top-k((x - b_in) @ W_enc + b_enc)),  ŷ = c @ W_dec + b_out (+ (x - b_in) @ W_skip)
L = ‖y - ŷ‖² / Var(y) + α · ‖e - ê‖² / Var(e),  e = y - ŷ without gradient, ê the dead features' guess of e

A batch holds [x | y] side by side: for an MLP, x its input behind the norm and y its output. The paper's L1 penalty is
replaced by top-k, which reaches a given L0 without a search. The two biases differ: b_in is the input's mean and stays
(what its training could do, b_enc does), b_out begins as the output's mean.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from bathyscope.dictionaries import start
from bathyscope.dictionaries.auxiliary import auxiliary_loss, default_k_aux, share_of_variation
from bathyscope.dictionaries.blocks import BlockScale, Scale, equal_widths, scalars
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
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Example, Loss, Trainee
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ConfigError

OUTPUT = "output"
"""Where reconstructions belong when nobody named the place."""
RIDGE = 1e-2
"""Variance that the regression of the skip path adds to each input direction, of 1 after scaling."""
CHUNK_ROWS = 1024
"""Rows of the first sample whose dense codes are held at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcoder:
    """Features that turn one place's activations into another's. Both are scaled to `E‖x - x̄‖² = D`, each by itself."""

    n_features: int = 4608
    """F, number of features."""
    k: int = 32
    """Most active features per token."""
    skip: bool = False
    """Add a linear path from input to output: lower error, and the features need not say what is linear."""
    d_in: int | None = None
    """Width of the input, which comes first in a batch; None takes half of the batch's width."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the output's width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead."""

    def __post_init__(self) -> None:
        require_positive(self, "n_features", "d_in", "k_aux", "dead_after_tokens")
        require_not_negative(self, "aux_coefficient")
        require_k(self.k, self.n_features)

    @property
    def reads_previous(self) -> bool:
        """The two places are the input and the output."""
        return False

    def split(self, width: int) -> tuple[int, ...]:
        """Widths of input and output."""
        if self.d_in is None:
            return equal_widths(width, 2, what="transcoder")
        if not self.d_in < width:
            raise ConfigError(f"d_in is {self.d_in}: nothing is left for the output in a batch of width {width}")
        return self.d_in, width - self.d_in

    def optimisation(self, d_model: int) -> Optimisation:
        """That of TopK, for the wider of the two places."""
        return short_run(n_features=self.n_features, d_model=max(self.split(d_model)))

    def scale(self, x_ND: Float[Tensor, "N D"]) -> BlockScale:
        """A scalar for the input and one for the output: MLP outputs are often far smaller than what the MLP reads."""
        widths = self.split(x_ND.shape[1])
        return BlockScale(scalars=tuple(map(start.unit_variance, x_ND.split(widths, dim=1))), widths=widths)

    def build(self, d_model: int, *, generator: torch.Generator) -> "TranscoderTrainee":
        """A trainee with random unit rows in encoder and decoder, drawn apart."""
        return TranscoderTrainee(self, self.split(d_model), generator)


class TranscoderTrainee(Trainee):
    """A transcoder that learns."""

    b_in_D: Float[Tensor, " D"]
    """Mean of the input."""

    def __init__(self, kind: Transcoder, widths: tuple[int, ...], generator: torch.Generator) -> None:
        super().__init__()
        d_in, d_out = widths
        self.kind, self.widths = kind, widths
        self.k_aux = kind.k_aux or default_k_aux(d_out)
        self.W_enc_FD = nn.Parameter(start.tied_start(kind.n_features, d_in, norm=1.0, generator=generator).W_enc_FD)
        self.W_dec_FD = nn.Parameter(start.tied_start(kind.n_features, d_out, norm=1.0, generator=generator).W_dec_FD)
        self.W_skip_DO = nn.Parameter(torch.zeros(d_in, d_out)) if kind.skip else None
        self.b_enc_F = nn.Parameter(torch.zeros(kind.n_features))
        self.b_out_O = nn.Parameter(torch.zeros(d_out))
        self.register_buffer("b_in_D", torch.zeros(d_in))
        self.silence = Silence(kind.n_features)

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """Both means; the linear path by regression; decoder rows to what goes with each feature in the output."""
        x_ND, y_NO = self.example(x_ND.to(self.b_out_O))
        with torch.no_grad():
            self.b_in_D.copy_(start.bias_start(x_ND, "mean"))
            self.b_out_O.copy_(start.bias_start(y_NO, "mean"))
            if self.W_skip_DO is not None:
                self.W_skip_DO.copy_(ridge(x_ND - self.b_in_D, y_NO - self.b_out_O))
            self._point_decoder(x_ND, self._without_skip(x_ND, y_NO) - self.b_out_O)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """Both summands; the auxiliary one counts features as dead that were silent up to this batch, included."""
        x_ND, y_NO = self.example(x_ND)
        target, pairs = moments(y_NO), self._pairs(x_ND)
        error = reconstruction_error(self._without_skip(x_ND, y_NO), *pairs, self.W_dec_FD, self.b_out_O)
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
        self, x_ND: Float[Tensor, "N D"], residual_NO: Float[Tensor, "N O"], dead_F: Bool[Tensor, " F"]
    ) -> Float[Tensor, ""]:
        """`‖e - ê‖² / Var(e)`, 0 when no feature is dead. The residual is a fixed target."""
        weights = (self.W_enc_FD, self.b_enc_F, self.W_dec_FD)
        return auxiliary_loss(x_ND - self.b_in_D, residual_NO, dead_F, *weights, k_aux=self.k_aux)

    def example(self, batch_NW: Float[Tensor, "N W"]) -> Example:
        """Input and output."""
        return Example(*batch_NW.split(self.widths, dim=1))

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of the inputs of a scaled batch."""
        return Codes(*self._pairs(self.example(x_ND).x_ND), self.kind.n_features)

    def decode(self, codes: Codes, x_ND: Float[Tensor, "N D"] | None = None) -> Float[Tensor, "N O"]:
        """Scaled outputs; the linear path is added when the batch `x_ND` is given."""
        guess_NO = decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec_FD, self.b_out_O)
        if self.W_skip_DO is None or x_ND is None:
            return guess_NO
        return guess_NO + (self.example(x_ND).x_ND - self.b_in_D) @ self.W_skip_DO

    def before_step(self) -> None:
        """Take off the decoder gradient what is parallel to each row."""
        project_gradient(self.W_dec_FD)

    def after_step(self, loss: Loss) -> None:
        """Decoder rows have length 1."""
        unit_rows(self.W_dec_FD)

    def fold(self, scale: Scale) -> Dictionary:
        """The neutral dictionary: scalars and both means folded in, so that nothing is taken off the input."""
        s_in, s_out = scalars(scale, 2)
        W_enc_DF, b_in_D, W_dec_FO = self.W_enc_FD.detach().double().T, self.b_in_D.double(), self.W_dec_FD.double()
        b_out_O, skip_DO = self.b_out_O.detach().double(), None
        if self.W_skip_DO is not None:
            skip_DO = self.W_skip_DO.detach().double()
            b_out_O = b_out_O - b_in_D @ skip_DO
            skip_DO = skip_DO * (s_in / s_out)
        weights = Weights(
            W_enc=W_enc_DF * s_in,
            b_enc=self.b_enc_F.detach().double() - b_in_D @ W_enc_DF,
            W_dec=W_dec_FO / s_out,
            b_dec=b_out_O / s_out,
            W_skip=skip_DO,
        )
        folded = fold(weights, scale=1.0, compares_features=True)
        return Dictionary(weights=folded, rule=Largest(k=self.kind.k), subtract_b_dec=False, output_hookpoint=OUTPUT)

    def adopt(self, dictionary: Dictionary, scale: Scale) -> None:
        """Weights of a transcoder with this k, and with a linear path if this one has it. The input's mean stays."""
        self._require_alike(dictionary)
        s_in, s_out = scalars(scale, 2)
        weights = dictionary.weights
        with torch.no_grad():
            self.W_enc_FD.copy_(weights.W_enc.T * (s_out / s_in))
            self.b_enc_F.copy_(weights.b_enc * s_out + self.W_enc_FD @ self.b_in_D)
            self.W_dec_FD.copy_(weights.W_dec)
            self.b_out_O.copy_(weights.b_dec * s_out)
            if self.W_skip_DO is not None and weights.W_skip is not None:
                self.W_skip_DO.copy_(weights.W_skip * (s_out / s_in))
                self.b_out_O.add_(self.b_in_D @ self.W_skip_DO)

    def _require_alike(self, dictionary: Dictionary) -> None:
        found = (dictionary.d_model, dictionary.d_out, dictionary.n_features)
        if found != (*self.widths, self.kind.n_features):
            raise ConfigError(
                f"the transcoder to start from has {found[2]} features over width {found[0]} to {found[1]}, "
                f"this kind is set to {self.kind.n_features} over {self.widths[0]} to {self.widths[1]}"
            )
        if dictionary.rule != Largest(k=self.kind.k) or dictionary.weights.gain is not None or dictionary.normalise:
            raise ConfigError(
                f"the transcoder to start from keeps {dictionary.rule}, this kind the {self.kind.k} largest"
            )
        if dictionary.subtract_b_dec or (dictionary.weights.W_skip is None) != (self.W_skip_DO is None):
            raise ConfigError("the dictionary to start from is no transcoder of this form: choose skip as it has it")

    def _pairs(self, x_ND: Tensor) -> Pairs:
        return encode_largest(x_ND, self.b_in_D, self.W_enc_FD, self.b_enc_F, self.kind.k)

    def _without_skip(self, x_ND: Tensor, y_NO: Tensor) -> Tensor:
        """What is left for the features to say."""
        return y_NO if self.W_skip_DO is None else y_NO - (x_ND - self.b_in_D) @ self.W_skip_DO

    def _point_decoder(self, x_ND: Tensor, y_NO: Tensor) -> None:
        """Each decoder row to `Σ_n c_nf y_n`, the encoder so long that the whole error is least; y has no mean."""
        moment_FO = torch.zeros_like(self.W_dec_FD)
        for i in range(0, len(x_ND), CHUNK_ROWS):
            codes = Codes(*self._pairs(x_ND[i : i + CHUNK_ROWS]), self.kind.n_features)
            moment_FO += codes.dense().T @ y_NO[i : i + CHUNK_ROWS]
        lengths_F1 = moment_FO.norm(dim=1, keepdim=True)
        self.W_dec_FD.copy_(torch.where(lengths_F1 > 0, moment_FO / lengths_F1.clamp_min(1e-30), self.W_dec_FD))
        with_guess = square = torch.zeros((), dtype=torch.float64, device=y_NO.device)
        for i in range(0, len(x_ND), CHUNK_ROWS):
            guess_NO = decode_pairs(*self._pairs(x_ND[i : i + CHUNK_ROWS]), self.W_dec_FD, self.b_out_O) - self.b_out_O
            with_guess = with_guess + (guess_NO * y_NO[i : i + CHUNK_ROWS]).double().sum()
            square = square + guess_NO.double().square().sum()
        self.W_enc_FD.mul_(torch.where(square > 0, with_guess / square.clamp_min(1e-30), 1).to(self.W_enc_FD))


def ridge(x_ND: Float[Tensor, "N D"], y_NO: Float[Tensor, "N O"]) -> Float[Tensor, "D O"]:
    """The matrix A that minimises `‖y - x @ A‖² + N·RIDGE·‖A‖²`, in float64; x and y have no mean."""
    x_ND, y_NO = x_ND.double(), y_NO.double()
    square_DD = x_ND.T @ x_ND + RIDGE * len(x_ND) * torch.eye(x_ND.shape[1], dtype=x_ND.dtype, device=x_ND.device)
    return torch.linalg.solve(square_DD, x_ND.T @ y_NO).float()
