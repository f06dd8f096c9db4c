"""`estimate_many`: many events from one pass of independent inputs, for estimators that need no more than that."""

from collections.abc import Sequence

import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate, Figures, Witness
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.one_pass import ActivationPass, ReadsActivations, ReadsScores, drawn_seed, together
from bathyscope.risk.events.event import Event
from bathyscope.risk.events.logit import ArgmaxToken, OnLogits, outcomes
from bathyscope.risk.inputs.law import Law, draw
from bathyscope.risk.look import MOST_WITNESSES, Look, Seen, as_witnesses
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import cost, ended, require, require_draws, require_level, settings_of, to_the_end


def estimate_many(
    model: Model,
    inputs: Law,
    events: Sequence[Event],
    estimator: Estimator,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    batch_size: int = 256,
) -> list[Estimate]:
    """The probability of each event, in order, from one pass; the figures are those of `estimate` with the same seed.

    The cost that each estimate states is that of the whole pass, which was paid once. Raises ConfigError, before the
    first forward, for an estimator that needs a run of its own for each event, for no events, and for events that do
    not follow from the next token's logits; otherwise as `estimate` does.
    """
    require_level(level)
    require_draws(seed, batch_size)
    problems = [Problem(model=model, inputs=inputs, event=event) for event in events]
    for problem in problems:
        require(problem, estimator)
    if not problems:
        raise ConfigError("no event was given, expected at least one")
    look = Look(problems[0], budget or Budget(), batch_size=batch_size)
    shared = _begin(look, events, estimator, torch.Generator().manual_seed(seed))
    flags = to_the_end(shared.step)
    return [
        Estimate(
            problem=problem.name,
            method=estimator.name,
            figures=ended(figures, flags),
            level=level,
            cost=cost(look.ledger),
            seed=seed,
            settings=settings_of(estimator),
            witnesses=witnesses,
        )
        for problem, figures, witnesses in zip(problems, shared.figures(level), shared.witnesses(), strict=True)
    ]


def _begin(
    look: Look, events: Sequence[Event], estimator: Estimator, generator: torch.Generator
) -> "_Scores | _Activations":
    if isinstance(estimator, ReadsActivations):
        return _Activations(estimator, look, events, generator)
    if not isinstance(estimator, ReadsScores):
        raise ConfigError(f"{estimator.name} needs a run of its own for each event: call estimate for each")
    estimator.begin(look, torch.Generator())  # refuses a budget that is too small
    on_logits = [event for event in events if isinstance(event, OnLogits)]
    strange = [event.name for event in events if not isinstance(event, OnLogits)]
    if strange:
        raise ConfigError(f"{strange[0]} does not follow from the next token's logits: call estimate for it")
    return _Scores(estimator, look, on_logits, [event.is_smooth for event in events], generator)


class _Scores:
    """One pass of logits, of which every event takes its scores."""

    def __init__(
        self,
        estimator: ReadsScores,
        look: Look,
        events: Sequence[OnLogits],
        is_smooth: Sequence[bool],
        generator: torch.Generator,
    ) -> None:
        self._estimator, self._look, self._generator = estimator, look, generator
        self._events, self._is_smooth = events, is_smooth
        self._seed = drawn_seed(generator)
        self._seen: list[list[Seen]] = [[] for _ in events]
        self._hits: list[Int[Tensor, "M C"]] = [torch.zeros(0, len(look.problem.inputs.log_p)).long() for _ in events]

    def step(self) -> bool:
        """One batch."""
        n = min(self._look.batch_size, self._look.room())
        if n == 0:
            return False
        rows_NC = draw(self._look.problem.inputs, n, generator=self._generator)
        for number, outcome in enumerate(outcomes(self._events, self._look.logits(rows_NC))):
            value_N = outcome.value_B.double().cpu()
            self._seen[number].append(Seen(outcome.score_B.double().cpu(), value_N))
            if len(self._hits[number]) < MOST_WITNESSES:
                self._hits[number] = torch.cat([self._hits[number], rows_NC[value_N > 0.5]]).unique(dim=0)
        return True

    def figures(self, level: float) -> list[Figures]:
        """What the inputs so far say of each event."""
        return [
            self._estimator.of_scores(together(seen), is_smooth=smooth, level=level, seed=self._seed)
            for seen, smooth in zip(self._seen, self._is_smooth, strict=True)
        ]

    def witnesses(self) -> list[tuple[Witness, ...]]:
        """For each event the first distinct inputs that showed it, likeliest first."""
        return [as_witnesses(self._look.problem.inputs, rows_MC) for rows_MC in self._hits]


class _Activations:
    """One pass of activations, out of which every token is told. Keeps no inputs: there are no witnesses."""

    def __init__(
        self, estimator: ReadsActivations, look: Look, events: Sequence[Event], generator: torch.Generator
    ) -> None:
        self._tokens = [event.token for event in events if isinstance(event, ArgmaxToken)]
        self._pass = ActivationPass(estimator, look, generator)
        self.step = self._pass.step

    def figures(self, level: float) -> list[Figures]:
        """What the activations so far say of each token."""
        return self._pass.figures_of(self._tokens, level)

    def witnesses(self) -> list[tuple[Witness, ...]]:
        """None."""
        return [() for _ in self._tokens]
