"""Many events from one pass: the same figures as alone, one cost, refusals."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest
import torch
from risk.enumerable import N_FREE, N_OPTIONS, enumerable_law, enumerable_model, problem, truths

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Linear
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.hookpoints import widths
from bathyscope.models.model import Model
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.estimator import Estimator
from bathyscope.risk.estimators.gaussian_margin import GaussianMargin
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.estimators.peaks import PeaksOverThreshold
from bathyscope.risk.estimators.quadratic import QuadraticLogits
from bathyscope.risk.estimators.splitting import Splitting
from bathyscope.risk.events.event import Outcome
from bathyscope.risk.events.logit import ArgmaxToken, TokenProbability, next_logits
from bathyscope.risk.features.shuffled import ShuffledCodes
from bathyscope.risk.inputs.law import log_prob
from bathyscope.risk.look import Look
from bathyscope.risk.many import estimate_many
from bathyscope.risk.run import estimate


def coordinates() -> Dictionary:
    """Every coordinate of the enumerable model's activations is a feature."""
    return Dictionary(
        weights=Weights(W_enc=torch.eye(16), b_enc=torch.zeros(16), W_dec=torch.eye(16), b_dec=torch.zeros(16)),
        rule=Linear(),
        subtract_b_dec=False,
    )


def rare(low: float, high: float) -> list[ArgmaxToken]:
    """Events with a probability in this range, rarest first."""
    return [ArgmaxToken(token) for p, token in sorted((p, token) for token, p in truths().items()) if low < p < high]


ONE_PASS = [
    Naive(),
    GaussianMargin(),
    GaussianMargin(tail="gumbel"),
    PeaksOverThreshold(share=0.05),
    QuadraticLogits(),
    QuadraticLogits(along="normal"),
    ShuffledCodes(dictionary=coordinates(), n_drawn=200),
]


@pytest.mark.parametrize("estimator", ONE_PASS, ids=lambda e: e.name)
def test_each_event_gets_the_figures_that_it_gets_alone(estimator: Estimator):
    events = rare(1e-5, 0.3)[:3]
    budget = Budget(forward=700)
    together = estimate_many(enumerable_model(), enumerable_law(), events, estimator, budget, seed=3, level=0.9)
    alone = [estimate(problem(event.token), estimator, budget, seed=3, level=0.9) for event in events]
    assert [found.figures for found in together] == [found.figures for found in alone]
    assert {found.cost["forward"] for found in together} == {700}, "the cost of the shared pass, once"
    assert [found.problem for found in together] == [found.problem for found in alone]
    assert all(found.figures.log_low <= found.figures.log_p <= found.figures.log_high for found in together)


@pytest.mark.parametrize("estimator", ONE_PASS, ids=lambda e: e.name)
def test_the_ledger_counts_the_rows_that_the_network_sees(estimator: Estimator):
    events, rows = rare(0.0, 1.0)[:2], list[int]()
    widths(enumerable_model())  # a trial that every network is given once
    handle = enumerable_model().body.register_forward_hook(lambda _m, _i, output: rows.append(len(output[0])))
    try:
        found = estimate_many(
            enumerable_model(), enumerable_law(), events, estimator, Budget(forward=500), batch_size=64
        )
    finally:
        handle.remove()
    stopped = isinstance(estimator, (QuadraticLogits, ShuffledCodes))  # only the check of the head runs to the end
    assert sum(rows) == (2 if stopped else 500)
    assert found[0].cost["forward"] == 500


def test_witnesses_show_the_event():
    event = rare(1e-3, 0.3)[0]
    (found,) = estimate_many(enumerable_model(), enumerable_law(), [event], Naive(), Budget(forward=2000))
    assert found.figures.n_hits > 0
    assert found.witnesses
    look = Look(problem(event.token), Budget())
    rows = torch.tensor([witness.tokens for witness in found.witnesses])
    assert (look.at(enumerable_law().choices(rows)).value_N == 1).all()
    log_p = [witness.log_p for witness in found.witnesses]
    assert log_p == sorted(log_p, reverse=True)


def test_an_estimate_names_its_dictionary_by_digest():
    estimator = ShuffledCodes(dictionary=coordinates(), n_drawn=200)
    (found,) = estimate_many(enumerable_model(), enumerable_law(), [ArgmaxToken(1)], estimator, Budget(forward=100))
    assert found.settings == {"dictionary": coordinates().digest, "block_size": 1, "n_drawn": 200}


def test_naive_sampling_of_a_drawn_token_is_shared_too():
    law, model = enumerable_law(), enumerable_model()
    events = [TokenProbability(t, temperature=2.0) for t in (3, 9)]
    found = estimate_many(enumerable_model(), enumerable_law(), events, Naive(), Budget(forward=3000), level=0.99)
    free_NC = torch.cartesian_prod(*[torch.arange(N_OPTIONS)] * N_FREE)
    choices_NC = torch.cat([torch.zeros(len(free_NC), 1, dtype=torch.long), free_NC], dim=1)
    with torch.no_grad():
        logits_NV = next_logits(model, law.inputs(model, choices_NC))
    truth_V = log_prob(law, choices_NC).exp() @ (logits_NV / 2).softmax(1)
    for event, one in zip(events, found, strict=True):
        assert one.figures.log_low < math.log(truth_V[event.token]) < one.figures.log_high


def test_an_interrupted_pass_keeps_what_it_saw(monkeypatch):
    original, calls = Look.logits, []

    def third_time_unlucky(self: Look, choices_BC: torch.Tensor) -> torch.Tensor:
        calls.append(len(choices_BC))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return original(self, choices_BC)

    monkeypatch.setattr(Look, "logits", third_time_unlucky)
    found = estimate_many(
        enumerable_model(), enumerable_law(), rare(0.0, 1.0)[:2], Naive(), Budget(forward=4000), batch_size=100
    )
    assert all("interrupted" in one.flags and one.cost["forward"] == 200 for one in found)


@pytest.mark.parametrize("estimator", [Naive(), QuadraticLogits()], ids=lambda e: e.name)
def test_a_network_that_gives_nan_is_named(estimator: Estimator, monkeypatch):
    norm = enumerable_model().body.ln_f
    monkeypatch.setattr(norm, "forward", lambda x_BSD: x_BSD * math.nan)
    with pytest.raises(ModelError, match=r"enumerable gives NaN for .* on an input of four positions"):
        estimate_many(enumerable_model(), enumerable_law(), [ArgmaxToken(1)], estimator, Budget(forward=100))


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
        ([ArgmaxToken(1), TokenProbability(1)], QuadraticLogits(), 5000, "QLD needs an ArgmaxToken event"),
        ([ArgmaxToken(1)], PeaksOverThreshold(), 500, "needs 1000 forwards for 20 peaks, found 500"),
        ([ArgmaxToken(1)], QuadraticLogits(), 10, "QLD needs 20 forwards"),
    ],
    ids=["alone only", "none", "no logits", "no argmax", "few peaks", "narrow"],
)
def test_what_cannot_be_shared_is_refused_before_the_first_forward(events, estimator, forward, message, monkeypatch):
    monkeypatch.setattr(Look, "_count", lambda *_: pytest.fail("a forward was paid for"))
    with pytest.raises(ConfigError, match=message):
        estimate_many(enumerable_model(), enumerable_law(), events, estimator, Budget(forward=forward))
