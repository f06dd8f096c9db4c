"""`estimate`: refuses what an estimator cannot do, runs it within a budget, and says what it found whenever it ends."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import torch

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget, BudgetSpent, Ledger
from bathyscope.risk.estimate import Estimate, Figures, Flag
from bathyscope.risk.estimators.estimator import Estimator, Need, Run
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem

Check = tuple[Callable[[Problem], bool], str]

_CHECKS: Mapping[Need, Check] = {
    "gradient": (lambda problem: problem.event.has_gradient, "an event whose score has a gradient"),
    "tokens": (lambda problem: isinstance(problem.inputs, ProductTokens), "independent positions of one token each"),
    "score": (lambda problem: not problem.event.is_smooth, "an event that the input decides by a score"),
    "argmax": (lambda problem: isinstance(problem.event, ArgmaxToken), "an ArgmaxToken event"),
}


def estimate(
    problem: Problem,
    estimator: Estimator,
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
    if not 0 < level < 1:
        raise ConfigError(f"level is {level}, expected a probability such as 0.95")
    require(problem, estimator)
    look = Look(problem, budget or Budget(), batch_size=batch_size)
    run = estimator.begin(look, torch.Generator().manual_seed(seed))
    figures = _at_least(_finish(run, level), look.log_mass)
    return Estimate(
        problem=f"{problem.event.name} | {problem.inputs.name}, {problem.model.name}",
        method=estimator.name,
        figures=figures,
        level=level,
        cost=cost(look.ledger),
        seed=seed,
        settings=settings_of(estimator),
        witnesses=look.witnesses(),
    )


def require(problem: Problem, estimator: Estimator) -> None:
    """Raises ConfigError for a problem that lacks what the estimator needs."""
    for need in sorted(estimator.needs):
        holds, what = _CHECKS[need]
        if not holds(problem):
            raise ConfigError(
                f"{estimator.name} needs {what}; {problem.event.name} on {problem.inputs.name} is none: "
                "choose another estimator, such as naive"
            )


def cost(ledger: Ledger) -> dict[str, int | float]:
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


def settings_of(estimator: Estimator) -> dict[str, Any]:
    """The estimator's settings, those that are plain values."""
    if not dataclasses.is_dataclass(estimator):
        return {}
    values = {field.name: getattr(estimator, field.name) for field in dataclasses.fields(estimator)}
    return {
        name: value for name, value in values.items() if isinstance(value, (bool, int, float, str, tuple, type(None)))
    }


def _at_least(figures: Figures, log_mass: float) -> Figures:
    """The figures with an interval that does not reach below what was seen for certain.

    An unbiased estimate may lie below it: it keeps its value, and says so.
    """
    flags: tuple[Flag, ...] = figures.flags
    if figures.log_p < log_mass and "probably_low" not in flags:
        flags = (*flags, "probably_low")
    low = max(figures.log_low, log_mass)
    return dataclasses.replace(figures, log_low=low, log_high=max(figures.log_high, low), flags=flags)


def _finish(run: Run, level: float) -> Figures:
    """Step until there is nothing to do, to pay with, or a hand on the keys; then look once at what is known."""
    interrupted = False
    try:
        while run.step():
            pass
    except (BudgetSpent, KeyboardInterrupt):
        interrupted = True
    figures = run.figures(level)
    if math.isnan(figures.log_p):
        raise ConfigError("the estimator returned NaN; this is a defect of the estimator")
    if interrupted:
        figures = dataclasses.replace(figures, flags=(*figures.flags, "interrupted"))
    return figures
