"""Many events from one pass: the same figures as alone, one cost, refusals."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from risk.enumerable import enumerable

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.peaks import PeaksOverThreshold
from bathyscope.risk.estimators.quadratic import Quadratic
from bathyscope.risk.estimators.splitting import Splitting
from bathyscope.risk.events.event import Outcome
from bathyscope.risk.events.logit import ArgmaxToken, TokenProbability
from bathyscope.risk.features.shuffled import ShuffledCodes
from bathyscope.risk.look import Look
from bathyscope.risk.many import estimate_many
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate


def coordinates() -> Dictionary:
    """Every coordinate of the enumerable model's activations is a feature."""
    return Dictionary(
        weights=Weights(W_enc=torch.eye(16), b_enc=torch.zeros(16), W_dec=torch.eye(16), b_dec=torch.zeros(16)),
        rule=Linear(),
        subtract_b_dec=False,
    )


ONE_PASS = [
    Naive(),
    GaussianMargin(),
    GaussianMargin(tail="gumbel"),
    PeaksOverThreshold(share=0.05),
    Quadratic(),
    Quadratic(along="normal"),
    ShuffledCodes(dictionary=coordinates(), n_drawn=200),
]


@pytest.mark.parametrize("estimator", ONE_PASS, ids=lambda e: e.name)
def test_each_event_gets_the_figures_that_it_gets_alone(estimator: Estimator):
    world = enumerable()
    events = world.rare(1e-5, 1e-2)[-3:]
    budget = Budget(forward=700)
    together = estimate_many(world.model, world.law, events, estimator, budget, seed=3, level=0.9)
    alone = [
        estimate(Problem(model=world.model, inputs=world.law, event=e), estimator, budget, seed=3, level=0.9)
        for e in events
    ]
    assert [found.figures for found in together] == [found.figures for found in alone]
    assert {found.cost["forward"] for found in together} == {700}, "the cost of the shared pass, once"
    assert [found.problem for found in together] == [found.problem for found in alone]
    assert all(found.figures.log_low <= found.figures.log_p <= found.figures.log_high for found in together)


@pytest.mark.parametrize("estimator", ONE_PASS, ids=lambda e: e.name)
def test_the_ledger_counts_the_rows_that_the_network_sees(estimator: Estimator):
    world = enumerable()
    rows: list[int] = []
    handle = world.model.body.register_forward_hook(lambda _m, _i, output: rows.append(len(output[0])))
    try:
        found = estimate_many(world.model, world.law, world.rare()[:2], estimator, Budget(forward=500), batch_size=64)
    finally:
        handle.remove()
    stopped = isinstance(estimator, (Quadratic, ShuffledCodes))  # only the check of the head runs to the end
    assert sum(rows) == (2 if stopped else 500)
    assert found[0].cost["forward"] == 500


def test_witnesses_show_the_event():
    world = enumerable()
    event = world.rare(1e-3, 0.05)[-1]
    (found,) = estimate_many(world.model, world.law, [event], Naive(), Budget(forward=2000))
    assert found.figures.n_hits > 0
    assert found.witnesses
    look = Look(Problem(model=world.model, inputs=world.law, event=event), Budget())
    rows = torch.tensor([witness.tokens for witness in found.witnesses])
    assert (look.at(world.law.choices(rows)).value_N == 1).all()
    log_p = [witness.log_p for witness in found.witnesses]
    assert log_p == sorted(log_p, reverse=True)


def test_naive_sampling_of_a_drawn_token_is_shared_too():
    world = enumerable()
    events = [TokenProbability(t, temperature=2.0) for t in (3, 9)]
    found = estimate_many(world.model, world.law, events, Naive(), Budget(forward=3000), level=0.99)
    with torch.no_grad():
        logits_NV = world.model.network(**world.law.inputs(world.model, world.choices_NC)).logits[:, -1].double()
    truth_V = (world.log_p_N.exp()[:, None] * (logits_NV / 2).softmax(1)).sum(0)
    for event, one in zip(events, found, strict=True):
        assert one.figures.log_low < math.log(truth_V[event.token]) < one.figures.log_high


def test_an_interrupted_pass_keeps_what_it_saw(monkeypatch):
    world = enumerable()
    original, calls = Look.logits, []

    def third_time_unlucky(self: Look, choices_BC: torch.Tensor) -> torch.Tensor:
        calls.append(len(choices_BC))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, choices_BC)

    monkeypatch.setattr(Look, "logits", third_time_unlucky)
    found = estimate_many(world.model, world.law, world.rare()[:2], Naive(), Budget(forward=4000), batch_size=100)
    assert all("interrupted" in one.flags and one.cost["forward"] == 200 for one in found)


@dataclasses.dataclass(frozen=True)
class Anything:
    """An event that is no matter of logits."""

    is_smooth: ClassVar[bool] = False
    has_gradient: ClassVar[bool] = False
    name: str = "anything"

    def outcome(self, model: Model, inputs: Mapping[str, Any]) -> Outcome:
        ones_B = torch.ones(len(inputs["input_ids"]))
        return Outcome(ones_B, ones_B)


@pytest.mark.parametrize(
    ("events", "estimator", "forward", "message"),
    [
        ([ArgmaxToken(1)], Splitting(), 5000, "splitting needs a run of its own for each event"),
        ([], Naive(), 5000, "no event was given"),
        ([Anything()], Naive(), 5000, "anything does not follow from the next token's logits"),
        ([ArgmaxToken(1), TokenProbability(1)], Quadratic(), 5000, "quadratic needs an ArgmaxToken event"),
        ([ArgmaxToken(1)], PeaksOverThreshold(), 500, "needs 1000 forwards for 20 peaks, found 500"),
        ([ArgmaxToken(1)], Quadratic(), 10, "quadratic needs 20 forwards"),
    ],
    ids=["alone only", "none", "no logits", "no argmax", "few peaks", "narrow"],
)
def test_what_cannot_be_shared_is_refused_before_the_first_forward(events, estimator, forward, message, monkeypatch):
    world = enumerable()
    monkeypatch.setattr(Look, "_count", lambda *_: pytest.fail("a forward was paid for"))
    with pytest.raises(ConfigError, match=message):
        estimate_many(world.model, world.law, events, estimator, Budget(forward=forward))
