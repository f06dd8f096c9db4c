"""One estimator on all events of one world: a folder of estimates, found again when the bench is started again."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bathyscope import artifacts, progress
from bathyscope.artifacts import Recipe
from bathyscope.models.load import load_model
from bathyscope.risk.bench.methods import EACH, ONE_PASS, by_features
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimates import KIND, write_estimates
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.events.logit import ArgmaxToken
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.many import estimate_many
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate
from bathyscope.risk.worlds.truth import read_truth


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What one process is given."""

    model: Path
    """Folder of the network."""
    truth: Path
    """Folder of the truth, which holds the law of inputs."""
    method: str
    """Name of the estimator."""
    tokens: tuple[int, ...]
    """Whose argmax is asked for."""
    dictionaries: Mapping[str, Path]
    """Name → folder of the dictionaries whose codes the method shuffles; empty for all others."""
    forward: int
    """Budget of each event."""
    level: float
    """Nominal coverage of the intervals."""
    seed: int
    """Of every draw; each event has its own, made of it and the token."""
    out: Path
    """Folder to write (kind `estimates`)."""


def run_unit(unit: Unit) -> None:
    """Make the unit's folder where it is missing."""
    truth, law = read_truth(unit.truth)
    recipe = Recipe(
        kind=KIND,
        config={"method": unit.method, "tokens": unit.tokens, "forward": unit.forward, "level": unit.level},
        seed=unit.seed,
        parents={"truth": unit.truth, **unit.dictionaries},
    )
    if artifacts.is_finished(unit.out, recipe):
        return
    with artifacts.draft(unit.out, recipe) as work:
        estimates = _estimates(unit, law)
        write_estimates(work.path, estimates, truths=[truth[token] for token in unit.tokens])


def _estimates(unit: Unit, law: ProductTokens) -> list[Estimate]:
    model, budget = load_model(unit.model), Budget(forward=unit.forward)
    events = [ArgmaxToken(token) for token in unit.tokens]
    shared: Mapping[str, Estimator] = {**ONE_PASS, **by_features(unit.dictionaries)}
    if unit.method in shared:
        return estimate_many(model, law, events, shared[unit.method], budget, seed=unit.seed, level=unit.level)
    found: list[Estimate] = []
    for number, event in enumerate(events):
        problem = Problem(model=model, inputs=law, event=event)
        with progress.listening(lambda _step: None):  # the events are what is counted here
            one = estimate(problem, EACH[unit.method], budget, seed=unit.seed + event.token, level=unit.level)
        found.append(one)
        progress.report("risk", number + 1, len(events), "events")
    return found
