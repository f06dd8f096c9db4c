"""What is timed: one line for each contender, and what its adapter must offer.

An adapter is a module of this folder that is imported in the contender's own environment. Its `build(task, sample_ND)`
gives a `Contender`; the sample is the first batch, from which starts that depend on data are taken.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Contender(Protocol):
    """A dictionary in training."""

    settings: Mapping[str, Any]
    """What was chosen, as JSON data, for the table."""

    def step(self, x_ND: "Tensor") -> "Tensor | None":
        """One update from a batch; its loss as the contender defines it, None where there is none."""
        ...

    def figures(self) -> dict[str, float]:
        """What else is worth knowing of the steps since the last question, such as features per token."""
        ...


class Learner(Contender, Protocol):
    """One that learns a dictionary, and so can be scored."""

    def weights(self) -> "dict[str, Tensor]":
        """`W_enc` [D, F], `b_enc`, `W_dec` [F, D], `b_dec` for activations as they were given.

        `pre = (x - b_dec) @ W_enc + b_enc`; the k largest of ReLU(pre) are kept.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Where a contender is found."""

    module: str
    """Module of this folder."""
    variant: str = ""
    """Which of several that one module holds."""
    package: str | None = None
    """The peer's package, in the environment `.interop/PACKAGE`; None runs in the Python that asks."""
    kinds: tuple[str, ...] = ("topk", "batchtopk", "l1", "jumprelu")
    """What it has."""


CONTENDERS: dict[str, Entry] = {
    "ours": Entry(module="ours"),
    "ours, plain torch": Entry(module="ours", variant="plain"),
    "dense torch": Entry(module="dense"),
    "encoder product": Entry(module="product"),
    "SAELens": Entry(module="peer_saelens", package="sae-lens"),
    "dictionary_learning": Entry(module="peer_dictionary_learning", package="dictionary-learning"),
    "sparsify": Entry(module="peer_sparsify", package="eai-sparsify", kinds=("topk",)),
    "sparsify, Adam": Entry(module="peer_sparsify", variant="adam", package="eai-sparsify", kinds=("topk",)),
    "overcomplete": Entry(module="peer_overcomplete", package="overcomplete"),
}
"""In the order of the tables."""
