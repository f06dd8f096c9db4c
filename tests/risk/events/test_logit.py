import pytest
import torch
from risk.enumerable import enumerable_law, enumerable_model

from bathyscope.errors import ConfigError
from bathyscope.risk.events.logit import ArgmaxIn, ArgmaxToken, LogitMargin, TokenProbability, margin, next_logits


@pytest.fixture(name="inputs")
def _inputs():
    return enumerable_law().inputs(
        enumerable_model(), enumerable_law().choices(enumerable_law().sample(64, torch.Generator().manual_seed(0)))
    )


def test_exactly_one_token_is_the_argmax_of_each_row(inputs):
    values = [ArgmaxToken(token).outcome(enumerable_model(), inputs).value_B for token in range(12)]
    assert torch.equal(torch.stack(values).sum(0), torch.ones(64, dtype=torch.float64))


def test_hits_are_the_rows_whose_likeliest_token_it_is(inputs):
    winner_B = next_logits(enumerable_model(), inputs).argmax(1)
    outcome = ArgmaxToken(4).outcome(enumerable_model(), inputs)
    assert torch.equal(outcome.value_B == 1, winner_B == 4)
    assert torch.equal(outcome.value_B == 1, outcome.score_B >= 0)


def test_a_set_happens_when_one_of_its_tokens_does(inputs):
    one, other = (ArgmaxToken(token).outcome(enumerable_model(), inputs).value_B for token in (1, 4))
    assert torch.equal(ArgmaxIn((1, 4)).outcome(enumerable_model(), inputs).value_B, one + other)


def test_the_margin_of_one_token_needs_no_copy_and_is_the_same():
    logits_BV = torch.randn(30, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plain_B = logits_BV[:, 3] - logits_BV[:, [v for v in range(9) if v != 3]].amax(1)
    assert torch.allclose(margin(logits_BV, [3]), plain_B)


def test_a_margin_beyond_a_gap(inputs):
    logits_BV = next_logits(enumerable_model(), inputs)
    outcome = LogitMargin(4, (1, 2), gap=0.5).outcome(enumerable_model(), inputs)
    assert torch.allclose(outcome.score_B, logits_BV[:, 4] - logits_BV[:, [1, 2]].amax(1) - 0.5)


def test_drawn_tokens_have_probabilities_that_sum_to_one(inputs):
    values = [TokenProbability(token, 0.7).outcome(enumerable_model(), inputs).value_B for token in range(12)]
    assert torch.allclose(torch.stack(values).sum(0), torch.ones(64, dtype=torch.float64))


def test_a_draw_nears_the_argmax_as_the_temperature_falls(inputs):
    drawn_B = TokenProbability(4, 1e-4).outcome(enumerable_model(), inputs).value_B
    assert torch.allclose(drawn_B, ArgmaxToken(4).outcome(enumerable_model(), inputs).value_B)


@pytest.mark.parametrize(
    "event", [ArgmaxToken(12), ArgmaxToken(-1), ArgmaxIn(()), ArgmaxIn(tuple(range(12))), TokenProbability(99)]
)
def test_tokens_that_are_not_there_are_refused(event, inputs):
    with pytest.raises(ConfigError, match="token"):
        event.outcome(enumerable_model(), inputs)


def test_a_temperature_of_0_is_refused():
    with pytest.raises(ConfigError, match="ArgmaxToken is its limit"):
        TokenProbability(1, 0.0)
