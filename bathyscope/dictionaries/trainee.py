"""What the training loop asks of a kind: settings that build a trainee, and a trainee that knows its loss.

A new kind is one file with a frozen settings class (`KindSettings`) and a final module (a `Trainee`), and one line in
`plain.py`. Everything here is abstract: there is no behaviour to inherit.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathyscope.dictionaries.blocks import Scale
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.moments import Moments
from bathyscope.dictionaries.schedule import Optimisation


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loss:
    """One batch's loss and what the loop records of it. Only `total` carries gradients."""

    total: Float[Tensor, ""]
    """What is minimised."""
    parts: Mapping[str, Float[Tensor, ""]]
    """Its summands by name, detached."""
    squared_error: Float[Tensor, ""]
    """Σ_n ‖x_n - x̂_n‖², detached."""
    target: Moments
    """Mean and variation of what is reconstructed, so that the loop can say how much of it is explained."""
    fires_F: Int[Tensor, " F"]
    """Number of tokens of the batch in which each feature was active (≠ 0)."""
    seen: Mapping[str, Tensor] = field(default_factory=dict[str, Tensor])
    """Detached figures of the batch that `after_step` takes into running averages, such as the least kept code."""

    @staticmethod
    def sum_of(
        parts: Mapping[str, Float[Tensor, ""]],
        *,
        squared_error: Float[Tensor, ""],
        target: Moments,
        fires_F: Int[Tensor, " F"],
        seen: Mapping[str, Tensor] | None = None,
    ) -> "Loss":
        """The loss whose total is the sum of `parts`; all other gradients are cut."""
        return Loss(
            total=torch.stack(list(parts.values())).sum(),
            parts={name: part.detach() for name, part in parts.items()},
            squared_error=squared_error.detach(),
            target=target,
            fires_F=fires_F,
            seen=seen or {},
        )


class Example(NamedTuple):
    """What the finished dictionary reads of a batch, and what it is to give."""

    x_ND: Float[Tensor, "N D"]
    y_ND: Float[Tensor, "N O"]


class Trainee(nn.Module, ABC):
    """A dictionary that learns: parameters, loss, and the constraints that each step must keep.

    It sees activations that were multiplied by the kind's scale; `fold` takes the scale out again.
    """

    silence: Silence
    """Kept up to date by the loop, after each step."""

    @abstractmethod
    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """Set what begins from data (biases), from a sample of scaled activations."""

    @abstractmethod
    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """The loss of a batch at `progress` of the run, in [0, 1]; changes nothing."""

    @abstractmethod
    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of scaled activations, as the loss sees them."""

    @abstractmethod
    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations."""

    @abstractmethod
    def before_step(self) -> None:
        """Change gradients before the optimiser uses them (projection)."""

    @abstractmethod
    def after_step(self, loss: Loss) -> None:
        """Bring weights back to their constraints after the optimiser moved them; update running averages."""

    def example(self, batch_NW: Float[Tensor, "N W"]) -> Example:
        """Input and target of the finished dictionary in a batch: the batch itself, unless places lie side by side."""
        return Example(batch_NW, batch_NW)

    @abstractmethod
    def fold(self, scale: Any) -> Dictionary:
        """The neutral dictionary for activations as the model makes them: `scale` and decoder norms folded in.

        `scale` is of the type that the kind's own `scale` returns, a float for most (and a float for any kind). With
        it, `fold(s).reconstruct(x) = decode(encode(s·x)) / s`, and its codes are the trainee's times ‖d_f‖ / s.
        """

    @abstractmethod
    def adopt(self, dictionary: Dictionary, scale: Any) -> None:
        """Go on from a finished dictionary: `fold(scale)` right after this gives it back.

        Raises ConfigError when this kind cannot hold it (another size, a rule that is not this kind's).
        """


@runtime_checkable
class KindSettings(Protocol):
    """Settings of one kind of dictionary: a frozen dataclass."""

    @property
    def n_features(self) -> int:
        """F, number of features."""
        ...

    @property
    def dead_after_tokens(self) -> int:
        """Tokens of silence after which a feature counts as dead."""
        ...

    def optimisation(self, d_model: int) -> Optimisation:
        """How this kind likes to be trained on activations of width `d_model`."""
        ...

    def scale(self, x_ND: Float[Tensor, "N D"]) -> Scale:
        """The scalar by which activations are multiplied (or one for each block), from a sample of them."""
        ...

    def build(self, d_model: int, *, generator: torch.Generator) -> Trainee:
        """A fresh trainee on the CPU. Raises ConfigError when the settings do not fit the width."""
        ...
