"""Tokens from logits: top-p keeps as few as reach it, rows draw from generators of their own."""

import pytest
import torch
from tiny import tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.decoding import Draw, choose, next_logits, seeded


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_top_p_draws_only_among_the_likeliest_and_by_their_shares(model):
    p_V = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])
    draw = Draw(temperature=1.0, top_p=0.65, generator=seeded(0, 0))
    found = torch.bincount(torch.tensor([choose(model, p_V.log(), draw) for _ in range(500)]), minlength=5)
    assert found[[0, 2, 4]].tolist() == [0, 0, 0]
    assert float(found[1]) / 500 == pytest.approx(0.4 / 0.7, abs=0.08)


def test_a_small_top_p_is_greedy_and_one_is_no_limit(model):
    logits_V = torch.randn(50, generator=torch.Generator().manual_seed(0))
    tiny = Draw(temperature=1.0, top_p=1e-6, generator=seeded(0, 0))
    assert choose(model, logits_V, tiny) == int(logits_V.argmax())
    drawn = {choose(model, torch.zeros(4), Draw(temperature=1.0, generator=seeded(0, n))) for n in range(40)}
    assert drawn == {0, 1, 2, 3}


@pytest.mark.parametrize(
    "settings", [{"top_p": 0.0}, {"top_p": 1.5}, {"temperature": -1.0}, {"temperature": float("nan")}]
)
def test_a_draw_out_of_range_is_refused(settings):
    with pytest.raises(ConfigError):
        Draw(**settings)


def test_logits_that_are_no_numbers_are_refused(model):
    with pytest.raises(ModelError, match="not numbers"):
        choose(model, torch.tensor([0.0, torch.nan]), Draw())


def test_the_whole_prompt_gives_the_logits_of_every_token(model):
    rows = [[104, 101, 108], [104, 101, 108, 108, 111]]
    steps = next_logits(model, rows, whole_prompt=True)
    logits_BTV = next(steps)
    for row, logits_TV in zip(rows, logits_BTV, strict=True):
        expected_SV = model.network(torch.tensor([row])).logits[0]
        torch.testing.assert_close(logits_TV[-len(row) :], expected_SV, atol=1e-4, rtol=1e-4)
    after_BTV = steps.send([7, None])
    assert after_BTV.shape == (2, 1, model.n_vocabulary)
    expected_V = model.network(torch.tensor([[*rows[0], 7]])).logits[0, -1]
    torch.testing.assert_close(after_BTV[0, 0], expected_V, atol=1e-4, rtol=1e-4)
