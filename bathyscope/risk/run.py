"""`estimate`: refuses what an estimator cannot do, runs it within a budget, and says what it found whenever it ends."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget, BudgetSpent, Ledger
from bathyscope.risk.estimate import Estimate, Figures, Flag
from bathyscope.risk.estimators.estimator import Estimator, Need, Run, WritingEstimator
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem, WrittenProblem
from bathyscope.risk.written_look import WrittenLook

PLAIN = (bool, int, float, str, type(None))
"""What a report can hold of an estimator's settings."""
Check = tuple[Callable[[Problem], bool], str]

_CHECKS: Mapping[Need, Check] = {
    "gradient": (lambda problem: problem.event.has_gradient, "an event whose score has a gradient"),
    "tokens": (lambda problem: isinstance(problem.inputs, ProductTokens), "independent positions of one token each"),
    "score": (lambda problem: not problem.event.is_smooth, "an event that the input decides by a score"),
    "argmax": (lambda problem: isinstance(problem.event, ArgmaxToken), "an ArgmaxToken event"),
}


def estimate(
    problem: Problem | WrittenProblem,
    estimator: Estimator | WritingEstimator,
    budget: Budget | None = None,
    *,
    seed: int = 0,
    level: float = 0.95,
    batch_size: int = 256,
) -> Estimate:
    """The probability of the problem's event, with an interval of nominal coverage `level`.

    Ends when the estimator is done, when the next batch would exceed the budget (65,536 forwards by default), or at
    Ctrl-C; in each case with what is known by then. Raises ConfigError, before the first forward, for a problem that
    the estimator cannot take and for a budget too small for one round; ModelError for scores that are NaN.
    """
    require_level(level)
    require_draws(seed, batch_size)
    generator = torch.Generator().manual_seed(seed)
    look, run = _begun(problem, estimator, budget or Budget(), batch_size, generator)
    flags = to_the_end(run.step)
    figures = ended(run.figures(level), flags)
    if isinstance(look, Look):
        figures = _at_least(figures, look.log_mass)
    return Estimate(
        problem=problem.name,
        method=estimator.name,
        figures=figures,
        level=level,
        cost=cost(look.ledger),
        seed=seed,
        settings=settings_of(estimator),
        witnesses=look.witnesses(),
    )


def _begun(
    problem: Problem | WrittenProblem,
    estimator: Estimator | WritingEstimator,
    budget: Budget,
    batch_size: int,
    generator: torch.Generator,
) -> tuple[Look | WrittenLook, Run]:
    """The look at the problem, and the estimator at work on it."""
    if isinstance(problem, WrittenProblem) and isinstance(estimator, WritingEstimator):
        texts = WrittenLook(problem, budget, batch_size=batch_size)
        return texts, estimator.begin_written(texts, generator)
    if isinstance(problem, Problem) and isinstance(estimator, Estimator):
        require(problem, estimator)
        look = Look(problem, budget, batch_size=batch_size)
        return look, estimator.begin(look, generator)
    kinds = "inputs, not of written texts" if isinstance(problem, WrittenProblem) else "written texts, not of inputs"
    raise ConfigError(f"{estimator.name} estimates events of {kinds}: choose another estimator, such as naive")


def require_level(level: float) -> None:
    """Raises ConfigError for a level that is no probability."""
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}, expected a probability such as 0.95")


def require_draws(seed: int, batch_size: int) -> None:
    """Raises ConfigError for a seed that no generator takes, and for batches of nothing."""
    if not 0 <= seed < 2**63:
        raise ConfigError(f"seed is {seed}, expected a whole number from 0 to 2^63 - 1")
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}, expected at least 1")


def require(problem: Problem, estimator: Estimator) -> None:
    """Raises ConfigError for a problem that lacks what the estimator needs."""
    for need in sorted(estimator.needs):
        holds, what = _CHECKS[need]
        if not holds(problem):
            raise ConfigError(
                f"{estimator.name} needs {what}; {problem.event.name} on {problem.inputs.name} is none: "
                "choose another estimator, such as naive"
            )


def require_round(problem: Problem, estimator: Estimator, budget: Budget) -> None:
    """Raises ConfigError for what `estimate` refuses before its first forward; sends nothing through the network."""
    require(problem, estimator)
    estimator.begin(Look(problem, budget), torch.Generator())


def cost(ledger: Ledger) -> dict[str, float | int]:
    """The ledger as figures."""
    return {
        "forward": ledger.forward,
        "backward": ledger.backward,
        "prompt_tokens": ledger.prompt_tokens,
        "generated_tokens": ledger.generated_tokens,
        "remembered": ledger.remembered,
        "spent": ledger.spent,
        "seconds": round(ledger.seconds, 3),
    }


def settings_of(estimator: Estimator | WritingEstimator) -> dict[str, Any]:
    """The estimator's settings that are plain values; of a dictionary its digest."""
    if not dataclasses.is_dataclass(estimator):
        return {}
    values = {field.name: getattr(estimator, field.name) for field in dataclasses.fields(estimator)}
    values = {name: value.digest if isinstance(value, Dictionary) else value for name, value in values.items()}
    return {name: value for name, value in values.items() if all(isinstance(each, PLAIN) for each in _members(value))}


def _members(value: Any) -> tuple[Any, ...]:
    """A tuple's values, or the value by itself."""
    return value if isinstance(value, tuple) else (value,)


def _at_least(figures: Figures, log_mass: float) -> Figures:
    """The figures with an interval that does not reach below what was seen for certain.

    An unbiased estimate may lie below it: it keeps its value, and says so.
    """
    flags: tuple[Flag, ...] = figures.flags
    if figures.log_p < log_mass and "probably_low" not in flags:
        flags = (*flags, "probably_low")
    low = max(figures.log_low, log_mass)
    return dataclasses.replace(figures, log_low=low, log_high=max(figures.log_high, low), flags=flags)


def to_the_end(step: Callable[[], bool]) -> tuple[Flag, ...]:
    """Step until there is nothing left to do; flags that say what ended it before, if anything did."""
    try:
        while step():
            pass
    except BudgetSpent:
        return ("interrupted",)
    except KeyboardInterrupt:
        return ("interrupted", "by_hand")
    return ()


def ended(figures: Figures, flags: tuple[Flag, ...]) -> Figures:
    """The figures, with what ended the work as flags. Raises ConfigError for NaN, a defect of the estimator."""
    if math.isnan(figures.log_p):
        raise ConfigError("the estimator returned NaN; this is a defect of the estimator")
    return dataclasses.replace(figures, flags=(*figures.flags, *flags))
