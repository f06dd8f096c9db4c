"""Log-probabilities of given tokens."""

import pytest
import torch
from tiny import tiny_model

from bathyscope.models.hooks import replace
from bathyscope.models.log_probs import log_probs, log_probs_behind

ROWS = [[257, 72, 101, 108, 108, 111], [257, 65], [66]]


def test_they_are_the_log_softmax_at_the_next_token():
    model = tiny_model("gpt2")
    found = log_probs(model, ROWS, batch_size=2)
    assert [len(row) for row in found] == [5, 1, 0]
    for row, log_p in zip(ROWS[:2], found, strict=False):
        with torch.no_grad():
            p_SV = model.network(input_ids=torch.tensor([row])).logits[0].double().softmax(-1)
        expected = torch.stack([p_SV[i, token].log() for i, token in enumerate(row[1:])])
        torch.testing.assert_close(log_p, expected, rtol=1e-5, atol=1e-5)


def test_the_probabilities_of_all_next_tokens_sum_to_one(tiny_model):
    every = log_probs(tiny_model, [[257, 70, token] for token in range(260)], batch_size=64)
    assert abs(float(torch.stack([row[1] for row in every]).exp().sum()) - 1) < 1e-6


def test_replacements_act_on_them(tiny_model):
    plain = log_probs(tiny_model, ROWS[:1])[0]
    with replace(tiny_model, {"layers.1": torch.zeros_like}):
        assert not torch.allclose(log_probs(tiny_model, ROWS[:1])[0], plain)


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gemma3", "mistral", "gpt_neox"])
def test_behind_a_prefix_they_are_those_of_the_whole(architecture):
    model, prefix = tiny_model(architecture), [257, 72, 101, 108, 108, 111, 32, 33]
    rows = [[72, 101, 108, 108, 111], [65], [], [66, 67]]
    found = log_probs_behind(model, prefix, rows, batch_size=3)
    whole = log_probs(model, [[*prefix, *row] for row in rows])
    assert [len(row) for row in found] == [5, 1, 0, 2]
    for log_p, expected in zip(found, whole, strict=True):
        torch.testing.assert_close(log_p, expected[len(prefix) - 1 :], rtol=1e-5, atol=1e-5)


def test_nothing_is_read_for_no_rows(monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(model.network, "forward", None)
    assert log_probs_behind(model, [257, 72], []) == []
