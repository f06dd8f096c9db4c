"""End-to-end: a dictionary judged by what the model says with its reconstruction (Braun et al. 2024, arXiv 2405.12241).

L = w · through(x̂, x) + r · error + the rest of the wrapped kind's loss,  through = KL(clean ‖ spliced) or CE
TopK:  error = ‖x - x̂‖² / Var(x), rest = AuxK;   ReLU:  error = mean_n ‖x - x̂‖² / D, rest = (λ/D) mean_n Σ_f c_f ‖d_f‖

`through` is a callable and knows the model; this file does not. With r = 0, the paper's pure form, x̂ need not stay near
x: other activations can make the model say the same.
"""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.auxiliary import share_of_variation
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.relu import ReLU, ReLUTrainee
from bathyscope.dictionaries.schedule import Optimisation
from bathyscope.dictionaries.topk import TopK, TopKTrainee
from bathyscope.dictionaries.trainee import Loss, Trainee
from bathyscope.errors import ConfigError

Through = Callable[[Tensor, Tensor], Tensor]
"""(x̂ [N, D], x [N, D]) → a scalar loss, differentiable in x̂; both as the model makes them."""


@runtime_checkable
class Recorded(Protocol):
    """A `through` that can say what it is, so that a folder made with it is told from others."""

    def record(self) -> dict[str, Any]:
        """JSON data."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EndToEnd:
    """Another kind that also learns through the model: give `train` the callable as `through`."""

    of: TopK | ReLU = field(default_factory=TopK)
    """The kind whose codes, scale and sparsity are used."""
    through: float = 1.0
    """w, weight of the loss through the model, in nats per token; 0 needs no model."""
    reconstruction: float = 1.0
    """r, weight of the reconstruction error; 0 is the paper's pure form."""

    def __post_init__(self) -> None:
        for name in ("through", "reconstruction"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}: expected 0 or a positive number")
        if self.through == 0 and self.reconstruction == 0:
            raise ConfigError("through and reconstruction are both 0: nothing would be learnt")

    @property
    def n_features(self) -> int:
        """F, number of features."""
        return self.of.n_features

    @property
    def dead_after_tokens(self) -> int:
        """Tokens of silence after which a feature counts as dead."""
        return self.of.dead_after_tokens

    def optimisation(self, d_model: int) -> Optimisation:
        """That of the wrapped kind, with the paper's clipping at 10: gradients through a model are uneven."""
        return dataclasses.replace(self.of.optimisation(d_model), clip_norm=10.0)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """1: the model must get its own activations back, so the trainee itself scales what the wrapped kind sees."""
        return 1.0

    def build(self, d_model: int, *, generator: torch.Generator) -> "EndToEndTrainee":
        """The wrapped kind's trainee in a wrapper, to be given the callable by `connect`."""
        return EndToEndTrainee(self, self.of.build(d_model, generator=generator))


class EndToEndTrainee(Trainee):
    """A trainee around another one, whose loss also asks the model."""

    scalar: Float[Tensor, ""]
    """What the wrapped trainee's activations are multiplied by."""

    def __init__(self, kind: EndToEnd, inner: TopKTrainee | ReLUTrainee) -> None:
        super().__init__()
        self.kind, self.inner = kind, inner
        self.register_buffer("scalar", torch.ones((), dtype=torch.float64))
        self._callables: list[Through] = []  # in a list: a module among the attributes would be trained too

    @property
    def silence(self) -> Silence:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the wrapped trainee."""
        return self.inner.silence

    def connect(self, through: Through) -> None:
        """Take the callable that asks the model."""
        self._callables = [through]

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """The wrapped kind's scale and start."""
        self.scalar.fill_(self.kind.of.scale(x_ND))
        self.inner.start(x_ND * float(self.scalar))

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """All summands; figures are of the activations as they are given."""
        s = self._scalar_like(x_ND)
        scaled_ND = x_ND * s
        inner = self.inner.loss(scaled_ND, progress=progress)
        guess_ND = self.inner.decode(self.inner.encode(scaled_ND))
        unit = 1.0 if isinstance(self.inner, TopKTrainee) else 1 / x_ND.shape[1]
        less = 1 - self.kind.reconstruction
        total = unit * inner.total
        if less != 0:
            total = total - less * unit * self._relative(scaled_ND, guess_ND)
        parts = {name: unit * part for name, part in inner.parts.items()}
        parts["error"] = self.kind.reconstruction * parts["error"]
        if self.kind.through > 0:
            asked = self.kind.through * self._through(guess_ND / s, x_ND)
            total, parts["through"] = total + asked, asked.detach()
        return Loss(
            total=total,
            parts=parts,
            squared_error=inner.squared_error / s**2,
            target=moments(x_ND),
            fires_F=inner.fires_F,
            seen=inner.seen,
        )

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes in units of the activations given."""
        s = self._scalar_like(x_ND)
        codes = self.inner.encode(x_ND * s)
        return dataclasses.replace(codes, values_NK=codes.values_NK / s)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of the activations given."""
        s = self._scalar_like(codes.values_NK)
        return self.inner.decode(dataclasses.replace(codes, values_NK=codes.values_NK * s)) / s

    def before_step(self) -> None:
        """As the wrapped trainee."""
        self.inner.before_step()

    def after_step(self, loss: Loss) -> None:
        """As the wrapped trainee."""
        self.inner.after_step(loss)

    def fold(self, scale: float) -> Dictionary:
        """The wrapped trainee's, with both scales."""
        return self.inner.fold(scale * float(self.scalar))

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """As the wrapped trainee, with both scales."""
        self.inner.adopt(dictionary, scale * float(self.scalar))

    def _through(self, guess_ND: Tensor, x_ND: Tensor) -> Tensor:
        if not self._callables:
            raise ConfigError(
                "EndToEnd learns through the model: give train a callable as through, such as activations.Through, "
                "or set through=0 in the kind"
            )
        return self._callables[0](guess_ND, x_ND)

    def _relative(self, scaled_ND: Tensor, guess_ND: Tensor) -> Tensor:
        """The wrapped kind's own error term, with gradients."""
        squared = (scaled_ND - guess_ND).square().sum()
        if isinstance(self.inner, TopKTrainee):
            return share_of_variation(squared, moments(scaled_ND))
        return squared / len(scaled_ND)

    def _scalar_like(self, x_ND: Tensor) -> Tensor:
        return self.scalar.to(x_ND)


def connect(trainee: nn.Module, through: Through | None) -> None:
    """Give an end-to-end trainee its callable. Raises ConfigError when the kind takes none, or lacks one it needs."""
    if not isinstance(trainee, EndToEndTrainee):
        if through is not None:
            raise ConfigError(f"{type(trainee).__name__} does not learn through the model: through is for EndToEnd")
        return
    if through is not None:
        trainee.connect(through)
    elif trainee.kind.through > 0:
        raise ConfigError(
            "EndToEnd learns through the model: give train a callable as through, such as activations.Through, "
            "or set through=0 in the kind"
        )


def recorded(through: Through) -> Any:
    """What a folder's recipe says of the callable."""
    if isinstance(through, Recorded):
        return through.record()
    return through.__qualname__ if isinstance(through, FunctionType) else type(through).__qualname__
