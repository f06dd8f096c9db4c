"""Laws over texts: slots, pools, and what a model writes; all end in the last column, whatever their lengths."""

import math

import pytest
import torch
from tiny import tiny_model

import bathyscope as bs
from bathyscope.errors import ConfigError
from bathyscope.models.log_probs import log_probs
from bathyscope.risk.events.logit import next_logits
from bathyscope.risk.inputs.language import Language
from bathyscope.risk.inputs.law import Law, draw, log_prob
from bathyscope.risk.inputs.pool import prompt_pool
from bathyscope.risk.inputs.slots import Slots
from bathyscope.risk.inputs.writing import Writing

MODEL = tiny_model()


def slots(**settings):
    fillings = {"who": ["my dog", "I"], "what": {"sleep": 3.0, "eat a lot": 1.0}}
    return Slots(**{"model": MODEL, "text": "{who} {what}{{}}, {who}", "fillings": fillings, "chat": False, **settings})


def language(**settings):
    prompts = prompt_pool(MODEL, ["ab", "a longer one"], weights=[3.0, 1.0], chat=False)
    return Language(**{"model": MODEL, "prompts": prompts, "n_tokens": 5, **settings})


def test_slots_fill_the_text_and_weigh_the_fillings():
    law = slots()
    assert isinstance(law, Law)
    rows_NC = torch.tensor([[0, 1], [1, 0]])
    assert law.texts(rows_NC) == ["my dog eat a lot{}, my dog", "I sleep{}, I"]
    assert log_prob(law, rows_NC).exp().tolist() == pytest.approx([0.125, 0.375])
    assert bytes(law.rows(rows_NC)[1][1:]).decode() == "I sleep{}, I"


@pytest.mark.parametrize("law", [slots(), slots(chat=True, system="Be brief."), language().prompts])
def test_a_padded_row_gives_the_logits_of_the_row_alone(law):
    rows_NC = draw(law, 8, generator=torch.Generator().manual_seed(0))
    together_NV = next_logits(MODEL, law.inputs(MODEL, rows_NC))
    alone_NV = torch.cat([next_logits(MODEL, {"input_ids": torch.tensor([row])}) for row in law.rows(rows_NC)])
    assert len({len(row) for row in law.rows(rows_NC)}) > 1
    torch.testing.assert_close(together_NV, alone_NV, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("text", "fillings", "words"),
    [
        ("{who}", {"what": ["a"]}, "each slot needs its own"),
        ("nothing", {}, "there must be one"),
        ("{who", {"who": ["a"]}, "write a brace"),
        ("{who.name}", {"who.name": ["a"]}, "a name in braces"),
        ("{who}", {"who": {"a": -1.0}}, "expected a positive number"),
        ("{who}", {"who": "abc"}, "found one text"),
    ],
)
def test_slots_that_cannot_be_filled_are_refused(text, fillings, words):
    with pytest.raises(ConfigError, match=words):
        slots(text=text, fillings=fillings)


def test_a_pool_draws_its_prompts_by_weight():
    law = language().prompts
    chosen_NC = draw(law, 4_000, generator=torch.Generator().manual_seed(0))
    assert float((chosen_NC == 0).double().mean()) == pytest.approx(0.75, abs=0.03)
    with pytest.raises(ConfigError, match="1 weights were given, expected 2"):
        prompt_pool(MODEL, ["a", "b"], weights=[1.0])
    with pytest.raises(ConfigError, match="write"):
        prompt_pool(MODEL, "one text")


def test_what_a_model_writes_is_as_likely_as_when_it_is_read():
    law = language()
    assert isinstance(law, Writing)
    written = law.write(torch.tensor([[0], [1], [0]]), torch.Generator().manual_seed(0))
    torch.testing.assert_close(law.log_prob(written), written.log_p_N, atol=1e-4, rtol=0)
    answer = law.answers(written)[1]
    (steps,) = log_probs(MODEL, [[*answer.prompt, *answer.tokens]])
    assert float(steps[-len(answer.tokens) :].sum()) == pytest.approx(float(written.log_p_N[1]), abs=1e-4)


def test_a_text_written_anew_from_a_cut_keeps_what_stands_before_it():
    law = language(temperature=2.0)
    written = law.write(torch.zeros(64, 1, dtype=torch.long), torch.Generator().manual_seed(0))
    again = law.rewrite(written, 3, torch.Generator().manual_seed(1))
    assert torch.equal(again.tokens_NL[:, :3], written.tokens_NL[:, :3])
    assert not torch.equal(again.tokens_NL[:, 3:], written.tokens_NL[:, 3:])
    torch.testing.assert_close(law.log_prob(again), again.log_p_N, atol=1e-4, rtol=0)
    short_N = written.length_N <= 3
    assert torch.equal(again.tokens_NL[short_N], written.tokens_NL[short_N])


def test_a_steered_law_reads_as_it_writes_and_otherwise_than_the_plain_one():
    direction_D = torch.ones(32)
    operation = bs.Add(direction_D, bs.Strength(3.0, 1.0, "units"), "layers.1")
    plain = language()
    steered = plain.inside(lambda: bs.steer(MODEL, [operation]), name="steered")
    written = steered.write(torch.tensor([[0], [1], [0]]), torch.Generator().manual_seed(0))
    torch.testing.assert_close(steered.log_prob(written), written.log_p_N, atol=1e-4, rtol=0)
    assert float((plain.log_prob(written) - written.log_p_N).abs().min()) > 1e-2


def test_a_steered_proposal_gives_the_share_that_plain_answers_have():
    operation = bs.Add(
        torch.randn(32, generator=torch.Generator().manual_seed(0)), bs.Strength(1.0, 1.0, "u"), "layers.1"
    )
    law = language(n_tokens=2)
    event = bs.TextMatches(matches=lambda text: any(letter in text for letter in "abcdefgh"), label="early letters")
    problem = bs.WrittenProblem(texts=law, event=event)
    proposal = law.inside(lambda: bs.steer(MODEL, [operation]), name="steered")
    plain = bs.estimate(problem, bs.Naive(), bs.Budget(forward=4_000))
    found = bs.estimate(problem, bs.Steered(proposals=(proposal,)), bs.Budget(forward=4_000))
    assert plain.interval[0] > 0
    assert abs(found.figures.log_p - plain.figures.log_p) < 0.5
    assert math.isfinite(found.figures.log_low)


def test_prompts_written_by_one_model_are_read_by_another():
    event = bs.ReadBy(model=tiny_model("gpt2"), event=bs.TokenProbability(7))
    problem = bs.WrittenProblem(texts=language(n_tokens=3), event=event)
    estimated = bs.estimate(problem, bs.Naive(), bs.Budget(forward=400))
    assert 0 < estimated.interval[0] < estimated.p < estimated.interval[1] < 1
    assert estimated.cost["forward"] > estimated.cost["generated_tokens"] > 0


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="above 0"):
        language(temperature=0.0)
