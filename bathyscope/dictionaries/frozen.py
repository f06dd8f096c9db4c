"""Nulls that learn: any kind with a part held at its random start (Korznikov et al. 2026, arXiv 2602.14111).

decoder: d_f(t) = d_f(0);   encoder: W_enc(t) = W_enc(0);   soft-decoder: cos(d_f(t), d_f(0)) ≥ 0.8
Everything else of the wrapped kind learns as it would. What a figure of a dictionary is worth shows beside the same
figure of these: their directions, or what makes their features fire, were never looked for.
"""

import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.aligned import MayBeAligned
from bathyscope.dictionaries.blocks import Scale
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.plain import PlainKind
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.trainee import Example, KindSettings, Loss, Trainee
from bathyscope.errors import ConfigError

Part = Literal["decoder", "encoder", "soft-decoder"]
"""What is held: the decoder's rows, the encoder's rows, or the decoder's rows in a cone around their start."""

ROWS: Mapping[Part, str] = {"decoder": "W_dec_FD", "encoder": "W_enc_FD", "soft-decoder": "W_dec_FD"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Frozen:
    """Another kind with a part held at its random start: the null that its figures are read against."""

    of: PlainKind = field(default_factory=TopK)
    """The kind that is held."""
    part: Part = "decoder"
    """What is held: the decoder's rows, the encoder's rows (biases and thresholds learn), or the decoder in a cone."""
    least_cosine: float = 0.8
    """Least cosine of a decoder row with its start, for `soft-decoder`."""

    def __post_init__(self) -> None:
        if not 0 < self.least_cosine <= 1:
            raise ConfigError(f"least_cosine is {self.least_cosine}: expected a cosine above 0, at most 1")
        if self.part == "encoder" and isinstance(self.of, MayBeAligned) and self.of.aligned:
            raise ConfigError("aligned moves the encoder rows with the decoder: it cannot be had with a frozen encoder")

    @property
    def n_features(self) -> int:
        """F, number of features."""
        return self.of.n_features

    @property
    def dead_after_tokens(self) -> int:
        """Tokens of silence after which a feature counts as dead."""
        return self.of.dead_after_tokens

    def optimisation(self, d_model: int) -> Optimisation:
        """The wrapped kind's own."""
        return self.of.optimisation(d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> Scale:
        """The wrapped kind's own."""
        return self.of.scale(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "FrozenTrainee":
        """The wrapped kind's trainee as it is drawn from `generator`, in a wrapper."""
        inner = self.of.build(d_model, generator=generator)
        if ROWS[self.part] not in dict(inner.named_parameters()):
            raise ConfigError(f"{type(self.of).__name__} has no {self.part} rows to hold: choose another part")
        return FrozenTrainee(self, inner)


def hold(kind: KindSettings, part: Part) -> Frozen:
    """`kind` with `part` held. Raises ConfigError for a kind that cannot be wrapped."""
    if not isinstance(kind, PlainKind):
        names = ", ".join(member.__name__ for member in typing.get_args(PlainKind))
        raise ConfigError(f"{type(kind).__name__} cannot be frozen: choose one of {names}")
    return Frozen(of=kind, part=part)


class FrozenTrainee(Trainee):
    """A trainee around another one, that takes back what a step did to the held rows."""

    held_FD: Float[Tensor, "F D"]
    """The rows as they were drawn, or adopted."""

    def __init__(self, kind: Frozen, inner: Trainee) -> None:
        super().__init__()
        self.kind, self.inner = kind, inner
        self.register_buffer("held_FD", self.rows_FD.detach().clone())

    @property
    def rows_FD(self) -> nn.Parameter:
        """The rows that are held, as they are now."""
        return self.inner.get_parameter(ROWS[self.kind.part])

    @property
    def silence(self) -> Silence:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the wrapped trainee."""
        return self.inner.silence

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """What begins from data, but for rows: those stay as they were drawn even if the kind takes them from data."""
        rows = [parameter for name, parameter in self.inner.named_parameters() if name in ROWS.values()]
        drawn = [rows_FD.detach().clone() for rows_FD in rows]
        self.inner.start(x_ND)
        with torch.no_grad():
            for rows_FD, drawn_FD in zip(rows, drawn, strict=True):
                rows_FD.copy_(drawn_FD)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """The wrapped kind's loss."""
        return self.inner.loss(x_ND, progress=progress)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations."""
        return self.inner.encode(x_ND)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""
        return self.inner.decode(codes)

    def before_step(self) -> None:
        """Rows that never move have no gradient: the optimiser keeps nothing for them."""
        self.inner.before_step()
        if self.kind.part != "soft-decoder":
            self.rows_FD.grad = None

    def after_step(self, loss: Loss) -> None:
        """The held rows bit for bit as they were, or back inside their cone."""
        if self.kind.part == "soft-decoder":
            with torch.no_grad():
                self.rows_FD.copy_(in_cone(self.rows_FD.detach(), self.held_FD, least_cosine=self.kind.least_cosine))
        self.inner.after_step(loss)
        if self.kind.part != "soft-decoder":
            with torch.no_grad():
                self.rows_FD.copy_(self.held_FD)

    def example(self, batch_NW: Float[Tensor, "N W"]) -> Example:
        """Input and target as the wrapped kind sees them."""
        return self.inner.example(batch_NW)

    def fold(self, scale: Any) -> Dictionary:
        """The neutral dictionary."""
        return self.inner.fold(scale)

    def adopt(self, dictionary: Dictionary, scale: Any) -> None:
        """Go on from a dictionary of the wrapped kind; from now on its rows are what is held."""
        self.inner.adopt(dictionary, scale)
        self.held_FD.copy_(self.rows_FD.detach())


def in_cone(
    rows_FD: Float[Tensor, "F D"], start_FD: Float[Tensor, "F D"], *, least_cosine: float
) -> Float[Tensor, "F D"]:
    """Each row turned towards its start until their cosine is `least_cosine`; as it is where that is so already.

    Lengths stay. A row that points straight away from its start gets the start's own direction.
    """
    length_F1 = rows_FD.norm(dim=1, keepdim=True)
    axis_FD = torch.nn.functional.normalize(start_FD, dim=1)
    along_F1 = torch.linalg.vecdot(rows_FD, axis_FD)[:, None]
    across_FD = torch.nn.functional.normalize(rows_FD - along_F1 * axis_FD, dim=1)
    sine = (1 - least_cosine**2) ** 0.5
    edge_FD = torch.nn.functional.normalize(least_cosine * axis_FD + sine * across_FD, dim=1)
    return torch.where(along_F1 >= least_cosine * length_F1, rows_FD, length_F1 * edge_FD)
