"""`Examples`: the activations of texts with a yes-or-no label at one hookpoint, token by token.

Knows nothing of where the texts come from (`contrast`) or of what is learnt from them.
"""

import dataclasses
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError

Pool = Literal["mean", "max"]
"""How figures of a text's tokens become one of the text. Learners see one mean activation for each text with `mean`,
every token under its text's label with `max`."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Examples:
    """N tokens of T texts. Every text has a token."""

    x_ND: Float[Tensor, "N D"]
    """Activations, float32, text after text."""
    text_N: Int[Tensor, " N"]
    """Number of each token's text, ascending."""
    labels_T: Bool[np.ndarray, " T"]
    """Whether a text has what the vector is to stand for."""
    groups_T: Int[np.ndarray, " T"]
    """What a text was taken from: texts of a group are no independent evidence."""
    tokens: tuple[tuple[int, ...], ...]
    """Token ids of each text as the model was given them, BOS included."""
    is_hard_T: Bool[np.ndarray, " T"] | None = None
    """Which texts are hard negatives; None where nobody has said."""
    is_paired: bool = False
    """Whether texts 2p and 2p + 1 are the sides of a pair, the true one second."""

    @property
    def n_texts(self) -> int:
        """T."""
        return len(self.labels_T)

    def pooled(self, figures_NM: Float[Tensor, "N M"], how: Pool) -> Float[Tensor, "T M"]:
        """Figures of tokens as figures of texts."""
        totals_TM = torch.zeros(self.n_texts, figures_NM.shape[1], dtype=figures_NM.dtype)
        index_NM = self.text_N[:, None].expand_as(figures_NM)
        return totals_TM.scatter_reduce(
            0, index_NM, figures_NM, "mean" if how == "mean" else "amax", include_self=False
        )

    def scores(self, direction_D: Float[Tensor, " D"], how: Pool) -> Float[np.ndarray, " T"]:
        """Product with a direction, text by text, float64."""
        return self.pooled((self.x_ND.double() @ direction_D.double())[:, None], how)[:, 0].numpy()

    def rows(self, how: Pool) -> tuple[Float[Tensor, "M D"], Bool[np.ndarray, " M"], Int[np.ndarray, " M"]]:
        """What a learner sees: vectors (float64), their labels and their groups; one a text, or one a token."""
        if how == "mean":
            return self.pooled(self.x_ND.double(), "mean"), self.labels_T, self.groups_T
        of_token_N = self.text_N.numpy()
        return self.x_ND.double(), self.labels_T[of_token_N], self.groups_T[of_token_N]

    def shifts_PD(self) -> Float[Tensor, "P D"]:
        """Of pairs: the true side minus the other one, float64."""
        assert self.is_paired
        means_TD = self.pooled(self.x_ND.double(), "mean")
        return means_TD[1::2] - means_TD[0::2]

    def as_pairs(self) -> "Examples":
        """The groups of one true and one false text as pairs, ascending by group; other texts are left out.

        Raises ConfigError when there are none.
        """
        members: dict[int, dict[bool, list[int]]] = {}
        for text, (group, label) in enumerate(zip(self.groups_T.tolist(), self.labels_T.tolist(), strict=True)):
            members.setdefault(group, {False: [], True: []})[label].append(text)
        sides = [(own[False], own[True]) for _, own in sorted(members.items())]
        pairs = [[*one, *other] for one, other in sides if len(one) == len(other) == 1]
        if not pairs:
            raise ConfigError("no group is one true text and one false one; these texts are no pairs")
        return dataclasses.replace(self.choose(np.array(pairs).ravel()), is_paired=True)

    def choose(self, texts: Int[np.ndarray, " U"]) -> "Examples":
        """Some of the texts, in the order given."""
        starts = torch.searchsorted(self.text_N, torch.arange(self.n_texts + 1)).tolist()
        tokens = [torch.arange(starts[text], starts[text + 1]) for text in texts.tolist()]
        return Examples(
            x_ND=self.x_ND[torch.cat(tokens)],
            text_N=torch.arange(len(tokens)).repeat_interleave(torch.tensor([len(each) for each in tokens])),
            labels_T=self.labels_T[texts],
            groups_T=self.groups_T[texts],
            tokens=tuple(self.tokens[text] for text in texts.tolist()),
            is_hard_T=None if self.is_hard_T is None else self.is_hard_T[texts],
            is_paired=self.is_paired,
        )
