"""`Look`: the only way by which estimators see the model. Counts what a look costs, and remembers what it saw.

A row that was seen before is answered from memory and costs nothing: close to a rare event the same inputs are
proposed over and over. Memory: about 200 bytes a row seen, and its slopes up to `MOST_SLOPES` bytes in all.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope import progress
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.hooks import run
from bathyscope.models.model import Model
from bathyscope.risk.budget import BACKWARD, Budget, BudgetSpent, Ledger
from bathyscope.risk.estimate import Witness
from bathyscope.risk.events.event import Generates, Outcome
from bathyscope.risk.events.logit import next_logits
from bathyscope.risk.inputs.law import Law, log_prob
from bathyscope.risk.problem import Problem

MOST_WITNESSES = 64
ROUNDING = 1e-9
"""Of a sum of many probabilities, relative."""
MOST_SLOPES = 1 << 28
"""Bytes of slopes that are remembered; later ones are computed whenever they are asked for."""


class Seen(NamedTuple):
    """Rows and what was seen of them."""

    score_N: Float[Tensor, " N"]
    """How far inside the event, float64."""
    value_N: Float[Tensor, " N"]
    """P(event | input), float64."""


def concatenated(parts: Sequence[Seen]) -> Seen:
    """All rows in order; none for no parts."""
    nothing = torch.zeros(0, dtype=torch.float64)
    return Seen(*map(torch.cat, zip(Seen(nothing, nothing), *parts, strict=True)))


class Slopes(NamedTuple):
    """Rows, what was seen of them, and how the score changes with what stands at each position."""

    score_N: Float[Tensor, " N"]
    """How far inside the event, float64."""
    value_N: Float[Tensor, " N"]
    """P(event | input), float64."""
    slope_NSD: Float[Tensor, "N S D"]
    """∂score / ∂embedding, float32, on the processor."""


@dataclass(slots=True)
class Memory:
    """Rows of choices that were seen, in order of their first look."""

    place: dict[bytes, int] = field(default_factory=dict[bytes, int])
    """Row → its number."""
    rows: list[Int[Tensor, "_ C"]] = field(default_factory=list[Tensor])
    """The rows, in pieces."""
    scores: list[float] = field(default_factory=list[float])
    values: list[float] = field(default_factory=list[float])
    slopes: dict[bytes, Float[Tensor, "S D"]] = field(default_factory=dict[bytes, Tensor])
    """Row → its slopes."""
    mass: float = 0.0
    """Σ P(row) · P(event | row): what the rows seen so far contribute to the probability of the event."""

    def known(self) -> tuple[Int[Tensor, "N C"], Seen]:
        """Every distinct row seen so far, and what was seen. Raises ValueError when nothing was."""
        score_N = torch.tensor(self.scores, dtype=torch.float64)
        return torch.cat(self.rows), Seen(score_N, torch.tensor(self.values, dtype=torch.float64))


class Look:
    """Evaluates rows of choices within a budget."""

    def __init__(self, problem: Problem, budget: Budget, *, batch_size: int = 256) -> None:
        self.problem, self.budget, self.batch_size = problem, budget, batch_size
        self.ledger, self.memory = Ledger(), Memory()
        self._n_generated = problem.event.n_generated if isinstance(problem.event, Generates) else 0

    @property
    def model(self) -> Model:
        """Whose outputs are looked at."""
        return self.problem.model

    @property
    def log_mass(self) -> float:
        """Logarithm of what the remembered rows contribute to the probability: the truth is not below it.

        Less what summing many floats may have added.
        """
        return math.log(self.memory.mass) - ROUNDING if self.memory.mass > 0 else -math.inf

    def room(self, *, with_gradient: bool = False) -> int:
        """Rows that can still be paid for."""
        return self.ledger.left(self.budget) // (1 + self._n_generated + BACKWARD * with_gradient)

    def at(self, choices_NC: Int[Tensor, "N C"], *, remember: bool = True) -> Seen:
        """What the model makes of each row. Raises BudgetSpent before a batch that cannot be paid for.

        With `remember`, rows seen before cost nothing; without, each row costs one forward and none is kept.
        """
        if not remember:
            return self._fresh(choices_NC)
        keys = keys_of(choices_NC)
        place, first = self.memory.place, {}
        for number, key in enumerate(keys):
            if key not in place:
                first.setdefault(key, number)
        if first:
            new_MC = choices_NC[list(first.values())]
            for part_MC, names in _parts(new_MC, list(first), self.batch_size):
                self._keep(part_MC, names, self._fresh(part_MC))
        self.ledger.remembered += len(keys) - len(first)
        return self._recall(keys)

    def is_among_first(self, choices_NC: Int[Tensor, "N C"], n_seen: int) -> Bool[Tensor, " N"]:
        """Which rows were among the first `n_seen` distinct ones that are remembered."""
        place = self.memory.place
        return torch.tensor([place.get(key, n_seen) < n_seen for key in keys_of(choices_NC)], dtype=torch.bool)

    def is_new(self, choices_NC: Int[Tensor, "N C"]) -> Bool[Tensor, " N"]:
        """Which rows would cost a forward; of equal new rows each says so."""
        return ~self.is_among_first(choices_NC, len(self.memory.scores))

    def slopes(self, choices_NC: Int[Tensor, "N C"]) -> Slopes:
        """What the model makes of each row and the gradient of the score, which costs a forward and a backward.

        Rows whose slopes were seen before cost nothing. Raises BudgetSpent before work that cannot be paid for.
        """
        keys = keys_of(choices_NC)
        first: dict[bytes, int] = {}
        for number, key in enumerate(keys):
            if key not in self.memory.slopes:
                first.setdefault(key, number)
        found = self._new_slopes(choices_NC, first) if first else {}
        self.ledger.remembered += len(keys) - len(first)
        seen = self._recall(keys)
        slope_NSD = torch.stack([found[key] if key in found else self.memory.slopes[key] for key in keys])
        return Slopes(seen.score_N, seen.value_N, slope_NSD)

    def _new_slopes(self, choices_NC: Int[Tensor, "N C"], first: dict[bytes, int]) -> dict[bytes, Tensor]:
        """Slopes of the rows at these numbers, kept while there is room for them."""
        self._pay(len(first), with_gradient=True)
        found: dict[bytes, Tensor] = {}
        for part_MC, names in _parts(choices_NC[list(first.values())], list(first), self.batch_size):
            part = self._slopes(part_MC)
            found.update(zip(names, part.slope_NSD, strict=True))
            new = [number for number, name in enumerate(names) if name not in self.memory.place]
            if new:
                seen = Seen(part.score_N[new], part.value_N[new])
                self._keep(part_MC[new], [names[number] for number in new], seen)
        bytes_each = next(iter(found.values())).numel() * 4
        n_kept = max(0, MOST_SLOPES // bytes_each - len(self.memory.slopes))
        self.memory.slopes.update(list(found.items())[:n_kept])
        return found

    def logits(self, choices_BC: Int[Tensor, "B C"]) -> Float[Tensor, "B V"]:
        """Logits behind the last token of each row of one batch, float64, on the model's device; none is remembered.

        Raises BudgetSpent before a batch that cannot be paid for, ModelError for NaN.
        """
        self._pay(len(choices_BC))
        inputs = self._inputs(choices_BC)
        with torch.no_grad():
            logits_BV = self._finite(next_logits(self.model, inputs), "logits")
        self._count(inputs["input_ids"])
        return logits_BV

    def last_activations(self, choices_BC: Int[Tensor, "B C"], hookpoint: str) -> Float[Tensor, "B D"]:
        """Activations at the last token of each row of one batch, as the model has them; the rest is not run.

        Raises BudgetSpent before a batch that cannot be paid for, ModelError for NaN.
        """
        self._pay(len(choices_BC))
        inputs = self._inputs(choices_BC)
        x_BSD = run(self.model, inputs, hookpoint)[hookpoint]
        self._count(inputs["input_ids"])
        return self._finite(x_BSD[:, -1], f"activations at {hookpoint}")

    def witnesses(self) -> tuple[Witness, ...]:
        """Distinct remembered rows that show the event, likeliest first, at most 64."""
        if not self.memory.rows:
            return ()
        rows_NC, seen = self.memory.known()
        return as_witnesses(self.problem.inputs, rows_NC[seen.value_N > 0.5])

    def _recall(self, keys: list[bytes]) -> Seen:
        numbers = [self.memory.place[key] for key in keys]
        scores, values = self.memory.scores, self.memory.values
        return Seen(
            torch.tensor([scores[number] for number in numbers], dtype=torch.float64),
            torch.tensor([values[number] for number in numbers], dtype=torch.float64),
        )

    def _fresh(self, choices_NC: Int[Tensor, "N C"]) -> Seen:
        self._pay(len(choices_NC))
        parts = [self._forward(part_BC) for part_BC in choices_NC.split(self.batch_size)]
        return Seen(*(torch.cat(pieces) for pieces in zip(*parts, strict=True)))

    @torch.no_grad()
    def _forward(self, choices_BC: Int[Tensor, "B C"]) -> Seen:
        inputs = self._inputs(choices_BC)
        outcome = self._checked(self.problem.event.outcome(self.model, inputs))
        self._count(inputs["input_ids"])
        return Seen(outcome.score_B.double().cpu(), outcome.value_B.double().cpu())

    def _slopes(self, choices_BC: Int[Tensor, "B C"]) -> Slopes:
        inputs = dict(self._inputs(choices_BC))
        tokens_BS = inputs.pop("input_ids")
        with torch.no_grad():
            embedded_BSD = self.model.network.get_input_embeddings()(tokens_BS)
        leaf_BSD = embedded_BSD.requires_grad_()
        with torch.enable_grad():
            outcome = self._checked(self.problem.event.outcome(self.model, {**inputs, "inputs_embeds": leaf_BSD}))
            (slope_BSD,) = torch.autograd.grad(outcome.score_B.sum(), leaf_BSD)
        self._count(tokens_BS)
        self.ledger.backward += len(tokens_BS)
        return Slopes(outcome.score_B.detach().double().cpu(), outcome.value_B.double().cpu(), slope_BSD.float().cpu())

    def _inputs(self, choices_BC: Int[Tensor, "B C"]) -> Mapping[str, Any]:
        """What the network is given. Raises ConfigError for more tokens than it can take."""
        inputs = self.problem.inputs.inputs(self.model, choices_BC)
        n_tokens = inputs["input_ids"].shape[1] + self._n_generated
        if n_tokens > self.model.context_length:
            raise ConfigError(
                f"an input of {self.problem.inputs.name} takes {n_tokens} tokens, {self.model.name} at most "
                f"{self.model.context_length}; shorten it"
            )
        return inputs

    def _checked(self, outcome: Outcome) -> Outcome:
        if bool(outcome.score_B.isnan().any()) or bool(outcome.value_B.isnan().any()):
            raise ModelError(
                f"{self.model.name} gives NaN for {self.problem.event.name} on an input of {self.problem.inputs.name}"
            )
        return outcome

    def _finite(self, found: Tensor, what: str) -> Tensor:
        if bool(found.isnan().any()):
            raise ModelError(f"{self.model.name} gives NaN for {what} on an input of {self.problem.inputs.name}")
        return found

    def _count(self, tokens_BS: Int[Tensor, "B S"]) -> None:
        self.ledger.forward += len(tokens_BS) * (1 + self._n_generated)
        self.ledger.generated_tokens += len(tokens_BS) * self._n_generated
        self.ledger.prompt_tokens += tokens_BS.numel()
        progress.report("risk", self.ledger.spent, self.budget.forward, "forwards")

    def _pay(self, n: int, *, with_gradient: bool = False) -> None:
        if n > self.room(with_gradient=with_gradient):
            raise BudgetSpent

    def _keep(self, rows_MC: Int[Tensor, "M C"], names: list[bytes], seen: Seen) -> None:
        first = len(self.memory.scores)
        self.memory.place.update((name, first + number) for number, name in enumerate(names))
        self.memory.rows.append(rows_MC)
        self.memory.mass += float((log_prob(self.problem.inputs, rows_MC).exp() * seen.value_N).sum())
        self.memory.scores.extend(seen.score_N.tolist())
        self.memory.values.extend(seen.value_N.tolist())


def as_witnesses(law: Law, rows_MC: Int[Tensor, "M C"]) -> tuple[Witness, ...]:
    """Rows that show an event: each once, likeliest first, at most 64."""
    rows_MC = rows_MC.unique(dim=0)
    log_p_M = log_prob(law, rows_MC)
    best = log_p_M.argsort(descending=True, stable=True)[:MOST_WITNESSES]
    tokens = law.rows(rows_MC[best])
    return tuple(
        Witness(tokens=tuple(row), log_p=float(log_p)) for row, log_p in zip(tokens, log_p_M[best], strict=True)
    )


def keys_of(choices_NC: Int[Tensor, "N C"]) -> list[bytes]:
    """Each row as bytes."""
    table = np.ascontiguousarray(choices_NC.numpy().astype(np.int32))
    return [row.tobytes() for row in table]


def _parts(
    rows_MC: Int[Tensor, "M C"], names: list[bytes], size: int
) -> Iterator[tuple[Int[Tensor, "B C"], list[bytes]]]:
    """Rows and their names in batches."""
    for first in range(0, len(names), size):
        yield rows_MC[first : first + size], names[first : first + size]
