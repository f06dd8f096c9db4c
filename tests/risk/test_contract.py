"""What every estimator must do, on a model whose every input is enumerated. A new estimator is a line in the cases."""

import ast
import math
import statistics
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from risk.contract_cases import CASES, COUNT_FIRST, REFERENCES, UNBIASED
from risk.small_world import enumerable

import bathyscope.risk.estimators
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.model import Model
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimate import Estimate
from bathyscope.risk.estimators.estimator import Estimator, Run
from bathyscope.risk.events.event import Event, Outcome
from bathyscope.risk.events.logit import ArgmaxToken, TokenProbability
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate

each = pytest.mark.parametrize("name", CASES)
FORWARDS = 400


def common() -> tuple[Problem, float]:
    """An event of about one in fifty, and its exact probability."""
    world = enumerable()
    token = int((world.p_V - 0.02).abs().argmin())
    problem = Problem(model=world.model, inputs=world.law, event=ArgmaxToken(token))
    return problem, float(world.p_V[token])


def run(
    name: str, *, seed: int = 0, forward: int = FORWARDS, level: float = 0.9, event: Event | None = None
) -> Estimate:
    problem, _ = common()
    if event is not None:
        problem = Problem(model=problem.model, inputs=problem.inputs, event=event)
    return estimate(problem, CASES[name], Budget(forward=forward), seed=seed, level=level)


@dataclass(frozen=True, slots=True)
class Spoilt:
    """An event whose scores are NaN, or that is interrupted, from the third batch on."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = True
    calls: list[int]
    token: int
    raises: type[BaseException] | None = None
    name: ClassVar[str] = "spoilt"

    def outcome(self, model: Model, inputs: Any) -> Outcome:
        outcome = ArgmaxToken(self.token).outcome(model, inputs)
        self.calls.append(len(outcome.score_B))
        if len(self.calls) < 3:
            return outcome
        if self.raises is not None:
            raise self.raises
        return Outcome(outcome.score_B * math.nan, outcome.value_B)


def test_every_estimator_of_the_room_has_a_case() -> None:
    folder = Path(bathyscope.risk.estimators.__file__).parent
    classes = [
        node
        for file in folder.glob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and node.name != "Estimator"
    ]
    settings = {node.name for node in classes if {"begin", "needs"} <= _methods(node)}
    one_pass = {node.name for node in classes if _methods(node) & {"of_scores", "of_activations"}}  # test_many.py
    cases = {type(case).__name__ for case in CASES.values()}
    assert settings - one_pass <= cases <= settings


def _methods(node: ast.ClassDef) -> set[str]:
    return {item.name for item in node.body if isinstance(item, ast.FunctionDef)}


@each
def test_it_keeps_the_protocols(name: str) -> None:
    problem, _ = common()
    assert isinstance(CASES[name], Estimator)
    look = Look(problem, Budget(forward=FORWARDS))
    assert isinstance(CASES[name].begin(look, torch.Generator().manual_seed(0)), Run)


@pytest.mark.parametrize("name", sorted(UNBIASED))
def test_the_mean_over_many_seeds_is_the_truth(name: str) -> None:
    _, truth = common()
    found = [run(name, seed=seed).p for seed in range(24)]
    assert abs(statistics.fmean(found) - truth) < 3.5 * statistics.stdev(found) / math.sqrt(24)


@pytest.mark.parametrize("name", sorted(CASES.keys() - REFERENCES - UNBIASED))
def test_the_median_over_seeds_is_near_the_truth(name: str) -> None:
    _, truth = common()
    assert statistics.median(run(name, seed=seed).p for seed in range(5)) == pytest.approx(truth, rel=0.5)


@pytest.mark.parametrize("name", sorted(CASES.keys() - REFERENCES))
def test_the_interval_mostly_covers_the_truth(name: str) -> None:
    _, truth = common()
    found = [run(name, seed=seed, level=0.99) for seed in range(3)]
    assert sum(low <= truth <= high for low, high in (estimate.interval for estimate in found)) >= 2


@each
def test_the_same_seed_gives_the_same_number_and_another_another(name: str) -> None:
    first, again = run(name), run(name)
    assert first.figures == again.figures and first.witnesses == again.witnesses
    assert {k: v for k, v in first.cost.items() if k != "seconds"} == {
        k: v for k, v in again.cost.items() if k != "seconds"
    }
    others = [run(name, seed=seed) for seed in (1, 2)]
    assert any(other.cost != first.cost or other.figures != first.figures for other in others)


@each
def test_the_ledger_is_what_hooks_count_and_within_the_budget(name: str) -> None:
    problem, _ = common()
    rows = {"forward": 0, "backward": 0}

    def count(module: Any, args: Any, kwargs: Any, output: Any) -> None:
        rows["forward"] += len(output.logits)
        if output.logits.requires_grad:
            rows["backward"] += len(output.logits)

    hook = problem.model.network.register_forward_hook(count, with_kwargs=True)
    try:
        found = run(name)
    finally:
        hook.remove()
    assert (found.cost["forward"], found.cost["backward"]) == (rows["forward"], rows["backward"])
    assert found.cost["spent"] == rows["forward"] + 2 * rows["backward"] <= FORWARDS


@each
def test_a_budget_too_small_for_one_round_is_refused_by_name(name: str) -> None:
    if name in COUNT_FIRST:
        assert run(name, forward=1).cost["forward"] == 1
        return
    with pytest.raises(ConfigError, match=f"{CASES[name].name} needs .* found 3"):
        run(name, forward=3)


@each
def test_what_it_cannot_take_is_refused_by_name(name: str) -> None:
    if "score" in CASES[name].needs:
        with pytest.raises(ConfigError, match=f"{CASES[name].name} needs an event that the input decides"):
            run(name, event=TokenProbability(3))
    else:
        assert run(name, event=TokenProbability(3)).p > 0


@each
def test_scores_that_are_not_numbers_are_refused(name: str) -> None:
    with pytest.raises(ModelError, match="gives NaN for spoilt"):
        run(name, forward=4000, event=Spoilt([], 3))


@each
def test_an_interruption_gives_the_estimate_so_far(name: str) -> None:
    problem, _ = common()
    assert isinstance(problem.event, ArgmaxToken)
    found = run(name, forward=4000, event=Spoilt([], problem.event.token, KeyboardInterrupt))
    assert "interrupted" in found.flags
    low, high = found.interval
    assert 0 <= low <= high <= 1 and high > 0
    assert found.cost["spent"] > 0
