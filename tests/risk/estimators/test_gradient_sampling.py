"""ITGIS: its slopes are those of one-hot inputs, and its mean is the truth."""

import math
from collections.abc import Callable

import pytest
import torch
from risk.small_world import enumerable
from tiny import ARCHITECTURES, tiny_model
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.gradient_sampling import ITGIS
from bathyscope.risk.events.logit import ArgmaxToken, TokenProbability
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.inputs.product import ProductTokens, fixed
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem
from bathyscope.risk.projection import Projection
from bathyscope.risk.run import estimate


def one_hot_slopes(model: Model, tokens_NS: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """The reference: ∂score / ∂one-hot input, [N, S, V], through the product with the whole embedding matrix."""
    embed = model.network.get_input_embeddings()
    table_VD = embed(torch.arange(model.n_vocabulary))
    onehot_NSV = torch.nn.functional.one_hot(tokens_NS, model.n_vocabulary).float().requires_grad_()
    with torch.enable_grad():
        logits_NSV = model.network(inputs_embeds=onehot_NSV @ table_VD, use_cache=False).logits
        (slope_NSV,) = torch.autograd.grad(score(logits_NSV[:, -1]).sum(), onehot_NSV)
    return slope_NSV


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_slopes_at_embeddings_are_those_of_one_hot_inputs_on_the_support(architecture: str) -> None:
    model = tiny_model(architecture)
    ids_K, even = torch.arange(0, 200, 7), torch.full((29,), -math.log(29), dtype=torch.float64)
    support, log_p = fixed([257])
    law = ProductTokens(support=(*support, ids_K, ids_K), log_p=(*log_p, even, even))
    problem = Problem(model=model, inputs=law, event=TokenProbability(5))
    rows_NC = draw(law, 4, generator=torch.Generator().manual_seed(0))
    slope_NSD = Look(problem, Budget()).slopes(rows_NC).slope_NSD
    expected_NSV = one_hot_slopes(model, law.tokens(rows_NC), lambda logits_NV: logits_NV.log_softmax(1)[:, 5])
    for position, ids in enumerate(law.support):
        found_NK = Projection(problem).at(position, slope_NSD[:, position])
        off = (found_NK - expected_NSV[:, position, ids]).abs().max()
        assert float(off) <= 1e-5 * max(1.0, float(expected_NSV.abs().max()))
    assert float(expected_NSV[:, 1:, ids_K].abs().max()) > 1e-3, "there is something to compare"


def test_the_mean_over_many_runs_is_the_truth() -> None:
    world = enumerable()
    token = int((world.p_V - 0.005).abs().argmin())
    problem = Problem(model=world.model, inputs=world.law, event=ArgmaxToken(token))
    p_R = torch.tensor(
        [estimate(problem, ITGIS(batch=16, n_batches=3), Budget(forward=400), seed=seed).p for seed in range(60)]
    )
    error = (float(p_R.mean()) - float(world.p_V[token])) / (float(p_R.std()) / math.sqrt(60))
    assert abs(error) < 3
    assert float(p_R.std()) > 0.01 * float(world.p_V[token]), "a test of the mean needs runs that differ"


def test_a_drawn_token_is_estimated_from_its_probability() -> None:
    world = enumerable()
    event = TokenProbability(3)
    with torch.no_grad():
        logits_NV = world.model.network(**world.law.inputs(world.model, world.choices_NC)).logits[:, -1].double()
    truth = float((world.log_p_N.exp() * logits_NV.softmax(1)[:, 3]).sum())
    problem = Problem(model=world.model, inputs=world.law, event=event)
    found = estimate(problem, ITGIS(batch=32, n_batches=8), Budget(forward=3000), level=0.99)
    assert found.p == pytest.approx(truth, rel=0.2)
    assert found.interval[0] <= truth <= found.interval[1]


def test_a_fixed_temperature_stays() -> None:
    world = enumerable()
    look = Look(Problem(model=world.model, inputs=world.law, event=ArgmaxToken(3)), Budget(forward=2000))
    run = ITGIS(temperature=0.7, batch=16).begin(look, torch.Generator().manual_seed(0))
    run.step()
    run.step()
    assert math.exp(run._log_temperature) == pytest.approx(0.7)


def test_unusable_settings_are_refused() -> None:
    for settings in ({"temperature": 0.0}, {"batch": 0}, {"decay": 1.0}, {"defensive": 1.0}, {"n_batches": 0}):
        with pytest.raises(ConfigError, match=r"ITGIS|temperature"):
            ITGIS(**settings)
