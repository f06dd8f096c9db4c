"""Estimators that see the model through one pass of independent inputs, whatever the events are, and their run.

Such a pass is shared by any number of events (`estimate_many`). Two kinds: those that read what a row scored, and those
that read the activations before the head.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.head import Head, read_head, require_head
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.look import Look, Seen

N_CHECKED = 2
"""Rows on which the head is compared with the model."""


@runtime_checkable
class ReadsScores(Estimator, Protocol):
    """An estimator that asks of each input only its score and value."""

    def of_scores(self, seen: Seen, *, is_smooth: bool, level: float, seed: int) -> Figures:
        """The figures of independent inputs; `seed` is for resamples. Any number of inputs, 0 included."""
        ...


@runtime_checkable
class ReadsActivations(Estimator, Protocol):
    """An estimator that asks of each input only its activation at the final norm, for events `argmax = t`."""

    def of_activations(
        self, x_ND: Float[Tensor, "N D"], head: Head, tokens: Sequence[int], *, level: float, seed: int
    ) -> list[Figures]:
        """For each token the figures of independent inputs with these activations, float32; `seed` is for draws."""
        ...


class ScorePass:
    """The run of one `ReadsScores`."""

    def __init__(self, estimator: ReadsScores, look: Look, generator: torch.Generator) -> None:
        self._estimator, self._look, self._generator = estimator, look, generator
        self._seed = drawn_seed(generator)
        self._seen: list[Seen] = []

    def step(self) -> bool:
        """One batch."""
        n = min(self._look.batch_size, self._look.room())
        if n == 0:
            return False
        rows_NC = draw(self._look.problem.inputs, n, generator=self._generator)
        self._seen.append(self._look.at(rows_NC, remember=False))
        return True

    def figures(self, level: float) -> Figures:
        """What the inputs so far say."""
        return self._estimator.of_scores(
            together(self._seen), is_smooth=self._look.problem.event.is_smooth, level=level, seed=self._seed
        )


class ActivationPass:
    """The run of one `ReadsActivations`, for any number of tokens."""

    def __init__(self, estimator: ReadsActivations, look: Look, generator: torch.Generator) -> None:
        self._estimator, self._look, self._generator = estimator, look, generator
        self._seed = drawn_seed(generator)
        self.head = read_head(look.model)
        self._pieces: list[Float[Tensor, "_ D"]] = []
        least = look.model.d_model + 2 * N_CHECKED
        if look.room() < least:
            raise ConfigError(
                f"{estimator.name} needs {least} forwards for this width, found {look.room()}; raise the budget"
            )

    def step(self) -> bool:
        """One batch; before the first, the head is compared with the model."""
        n = min(self._look.batch_size, self._look.room())
        if n == 0:
            return False
        if not self._pieces:
            n = max(n - N_CHECKED, N_CHECKED)  # their logits are paid for, too
        rows_NC = draw(self._look.problem.inputs, n, generator=self._generator)
        x_ND = self._look.last_activations(rows_NC, self.head.hookpoint).float()
        if not self._pieces:
            logits_NV = self._look.logits(rows_NC[:N_CHECKED])
            require_head(self._look.model, self.head, x_ND[:N_CHECKED], logits_NV)
        self._pieces.append(x_ND)
        return True

    def figures(self, level: float) -> Figures:
        """What the activations so far say of the problem's event."""
        event = self._look.problem.event
        if not isinstance(event, ArgmaxToken):
            raise ConfigError(f"{self._estimator.name} needs an ArgmaxToken event, found {event.name}")
        return self.figures_of([event.token], level)[0]

    def figures_of(self, tokens: Sequence[int], level: float) -> list[Figures]:
        """What the activations so far say of each token."""
        x_ND = torch.cat(self._pieces) if self._pieces else self.head.weight_VD.new_zeros(0, self._look.model.d_model)
        return self._estimator.of_activations(x_ND, self.head, tokens, level=level, seed=self._seed)


def together(seen: Sequence[Seen]) -> Seen:
    """Batches as one; nothing seen is nothing."""
    if not seen:
        return Seen(torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    return Seen(torch.cat([part.score_N for part in seen]), torch.cat([part.value_N for part in seen]))


def drawn_seed(generator: torch.Generator) -> int:
    """A seed for what is drawn after the pass, so that the number of batches does not change it."""
    return int(torch.randint(2**31, (), generator=generator))
