"""Continuations: their log-probabilities are those of plain reads, whatever is shared or was written before."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.continuations import BEHIND, continuations
from bathyscope.models.log_probs import log_probs, log_probs_behind

NOTHING = torch.zeros(3, 0, dtype=torch.long)
PROMPTS = [[257, 72, 101], [257, 72], [5, 6, 7, 8, 9]]


def continued(model, prompts=PROMPTS, given_BC=NOTHING, seed=0, **settings):
    settings = {"n_tokens": 6, "temperature": 1.0, "stops": frozenset(), **settings}
    return continuations(model, prompts, given_BC, generator=torch.Generator().manual_seed(seed), **settings)


@pytest.mark.parametrize("prompts", [PROMPTS, PROMPTS[:1] * 3], ids=["different", "shared"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_log_probabilities_are_those_of_a_plain_read(architecture, prompts):
    model = tiny_model(architecture)
    given_BC = torch.tensor([[1, 2], [3, 4], [5, 6]])
    new = continued(model, prompts, given_BC)
    rows = [[*p, *g, *t] for p, g, t in zip(prompts, given_BC.tolist(), new.tokens_BT.tolist(), strict=True)]
    expected = torch.stack([steps[-6:] for steps in log_probs(model, rows)])
    torch.testing.assert_close(new.log_p_BT, expected, atol=1e-4, rtol=0)


def test_draws_follow_the_softmax_at_the_temperature():
    model = tiny_model()
    new = continued(model, [[257, 72]] * 4_000, torch.zeros(4_000, 0, dtype=torch.long), n_tokens=1, temperature=0.5)
    with torch.no_grad():
        p_V = (model.network(input_ids=torch.tensor([[257, 72]])).logits[0, -1].double() / 0.5).softmax(0)
    share_V = torch.bincount(new.tokens_BT[:, 0], minlength=len(p_V)) / 4_000
    assert float((share_V - p_V).abs().max()) < 0.03
    (found,) = log_probs_behind(model, [257, 72], [new.tokens_BT[0].tolist()], temperature=0.5)
    assert float(found[0]) == pytest.approx(float(new.log_p_BT[0, 0]), abs=1e-5)


def test_a_row_ends_at_its_stop_and_is_empty_behind_it():
    model = tiny_model()
    free = continued(model)
    stop = int(free.tokens_BT[0, 2])
    ended = continued(model, stops=frozenset({stop}))
    first = free.tokens_BT[0].tolist().index(stop)
    assert ended.tokens_BT[0].tolist() == [*free.tokens_BT[0, : first + 1].tolist(), *[BEHIND] * (5 - first)]
    assert bool((ended.log_p_BT[ended.tokens_BT == BEHIND] == 0).all())


def test_the_same_generator_gives_the_same_tokens():
    model = tiny_model()
    assert torch.equal(continued(model).tokens_BT, continued(model).tokens_BT)
    assert not torch.equal(continued(model).tokens_BT, continued(model, seed=1).tokens_BT)


def test_rows_beyond_the_context_are_refused():
    with pytest.raises(ConfigError, match="exceed the 128"):
        continued(tiny_model(), n_tokens=126)
