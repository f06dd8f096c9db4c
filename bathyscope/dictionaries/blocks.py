"""Blocks: the places whose activations lie side by side in a batch, and a scalar for each of them.

A batch of several places (hookpoints, models, a token and the one before it) is one tensor [N, width]; block m takes
the next `widths[m]` columns. Knows nothing of what is learnt from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Block:
    """Columns of a batch that belong to one place."""

    name: str
    """The place: a hookpoint, with the model's name in front where two models lie side by side."""
    width: int
    """Number of columns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockScale:
    """A scalar for each block, where one for the whole batch would favour the place of largest activations."""

    scalars: tuple[float, ...]
    """What each block is multiplied by."""
    widths: tuple[int, ...]
    """Columns of each block."""

    def row(self) -> Float[Tensor, " W"]:
        """The factor of each column, float64."""
        scalars_M = torch.tensor(self.scalars, dtype=torch.float64)
        return scalars_M.repeat_interleave(torch.tensor(self.widths))


Scale = float | BlockScale
"""What activations are multiplied by for training."""


@runtime_checkable
class SideBySide(Protocol):
    """Settings of a kind whose batches hold several places side by side."""

    @property
    def reads_previous(self) -> bool:
        """True when the places are the previous token and the token, at one hookpoint."""
        ...

    def split(self, width: int) -> tuple[int, ...]:
        """Widths of the blocks of a batch of `width` columns. Raises ConfigError when they do not fit."""
        ...


def equal_widths(width: int, n_blocks: int, *, what: str) -> tuple[int, ...]:
    """`width` columns in `n_blocks` equal blocks. Raises ConfigError naming `what` when they do not divide."""
    if width % n_blocks:
        raise ConfigError(f"{what} reads {n_blocks} places side by side: width {width} does not divide into {n_blocks}")
    return (width // n_blocks,) * n_blocks


def scalars(scale: Scale, n_blocks: int) -> tuple[float, ...]:
    """The scalar of each of `n_blocks` blocks."""
    return scale.scalars if isinstance(scale, BlockScale) else (scale,) * n_blocks


def require_fit(kind: object, blocks: Sequence[Block] | None, width: int) -> None:
    """Raise ConfigError when a batch's places are not what `kind` reads. `blocks` is None where nobody knows them."""
    name = type(kind).__name__
    found = [f"{block.name} ({block.width})" for block in blocks or ()]
    if not isinstance(kind, SideBySide):
        if len(found) > 1:
            raise ConfigError(
                f"{name} reads one place, found {' and '.join(found)} side by side: name one hookpoint, or choose a "
                "transcoder or crosscoder"
            )
        return
    if len(found) == 1:
        raise ConfigError(f"{name} reads several places side by side, found {found[0]} alone: name several hookpoints")
    widths = kind.split(width)
    if blocks and tuple(block.width for block in blocks) != widths:
        raise ConfigError(
            f"{name} splits a batch into widths {', '.join(map(str, widths))}, found {' and '.join(found)}: "
            "set the widths of its places"
        )


def reads_previous(kinds: Sequence[object]) -> bool:
    """Whether batches are pairs of adjacent tokens. Raises ConfigError when some kinds want that and others do not."""
    answers = [isinstance(kind, SideBySide) and kind.reads_previous for kind in kinds]
    if any(answers) and not all(answers):
        names = {type(kind).__name__ for kind, pairs in zip(kinds, answers, strict=True) if pairs}
        raise ConfigError(f"{', '.join(names)} reads pairs of adjacent tokens: train it apart from the others")
    return any(answers)
