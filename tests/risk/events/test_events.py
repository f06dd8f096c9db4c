"""Events beyond the next token: their scores decide as plain reads do, and have slopes where they say so."""

import dataclasses
import math

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.models.hooks import run
from bathyscope.models.log_probs import log_probs
from bathyscope.models.padding import padded_inputs
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.naive import Naive
from bathyscope.risk.events.activation import FeatureAbove, Probe
from bathyscope.risk.events.sequence import GreedySequence, SampledSequence
from bathyscope.risk.events.text import Judge, TextMatches, greedy_answers, text_matcher
from bathyscope.risk.inputs.pool import prompt_pool
from bathyscope.risk.look import Look
from bathyscope.risk.problem import Problem
from bathyscope.risk.run import estimate

MODEL = tiny_model()
ROWS = [[257, 72, 101, 108], [257, 5], [9, 8, 7]]
INPUTS = padded_inputs(MODEL, ROWS)


def embedded():
    """The same inputs with a leaf of embeddings in place of ids."""
    inputs = dict(INPUTS)
    leaf_BSD = MODEL.network.get_input_embeddings()(inputs.pop("input_ids")).detach().requires_grad_()
    return leaf_BSD, {**inputs, "inputs_embeds": leaf_BSD}


def test_a_greedy_sequence_is_a_hit_exactly_where_the_model_writes_it():
    answers = greedy_answers(MODEL, INPUTS, 3)
    assert len(answers[0].tokens) == 3
    outcome = GreedySequence(answers[0].tokens).outcome(MODEL, INPUTS)
    assert outcome.value_B.tolist() == [float(each.tokens == answers[0].tokens) for each in answers]
    other = (*answers[0].tokens[:2], (answers[0].tokens[2] + 1) % 256)
    missed = GreedySequence(other).outcome(MODEL, INPUTS)
    assert float(missed.score_B[0]) < 0 == float(missed.value_B[0])


def test_a_sampled_sequence_has_the_product_of_its_probabilities():
    tokens = (7, 8, 9)
    outcome = SampledSequence(tokens).outcome(MODEL, INPUTS)
    expected = [float(steps[-3:].sum()) for steps in log_probs(MODEL, [[*row, *tokens] for row in ROWS])]
    assert outcome.score_B.tolist() == pytest.approx(expected, abs=1e-4)
    assert outcome.value_B.tolist() == pytest.approx([math.exp(each) for each in expected], rel=1e-3)


def test_a_probability_below_the_smallest_float_has_an_estimate():
    problem = Problem(model=MODEL, inputs=prompt_pool(MODEL, ["a", "b"]), event=SampledSequence((7,) * 40, 0.01))
    estimated = estimate(problem, Naive(), Budget(forward=8))
    assert estimated.p == 0 and -math.inf < estimated.figures.log_p < -800


def test_a_probe_reads_the_last_position():
    direction_D = torch.randn(32, generator=torch.Generator().manual_seed(0))
    outcome = Probe("layers.1", direction_D, 0.25).outcome(MODEL, INPUTS)
    expected = [float(run(MODEL, torch.tensor([row]), "layers.1")["layers.1"][0, -1] @ direction_D) for row in ROWS]
    assert outcome.score_B.tolist() == pytest.approx([each - 0.25 for each in expected], abs=1e-3)
    with pytest.raises(ConfigError, match="width 5"):
        Probe("layers.1", torch.ones(5), 0.0).outcome(MODEL, INPUTS)


def test_a_feature_is_above_a_line_exactly_where_its_code_is():
    dictionary = random_dictionary(MODEL)
    x_ND = torch.stack([run(MODEL, torch.tensor([row]), "layers.1")["layers.1"][0, -1] for row in ROWS])
    codes_NF = dictionary.encode(x_ND).dense()
    feature = int(codes_NF[0].argmax())
    threshold = float(codes_NF[0, feature]) - 0.1
    outcome = FeatureAbove(dictionary, feature, threshold).outcome(MODEL, INPUTS)
    assert outcome.value_B.tolist() == (codes_NF[:, feature] >= threshold).double().tolist()
    assert float(outcome.score_B[0]) == pytest.approx(0.1, abs=1e-3)
    for wrong, words in ((FeatureAbove, "is none of 48"),):
        with pytest.raises(ConfigError, match=words):
            wrong(dictionary, 48, 1.0)
    with pytest.raises(ConfigError, match="above 0"):
        FeatureAbove(dictionary, 0, 0.0)
    with pytest.raises(ConfigError, match="which hookpoint"):
        FeatureAbove(dataclasses.replace(dictionary, hookpoint=None), 0, 1.0)


@pytest.mark.parametrize(
    "event",
    [
        GreedySequence((7, 8)),
        SampledSequence((7, 8)),
        Probe("layers.1", torch.ones(32), 0.0),
        FeatureAbove(random_dictionary(MODEL), 3, 0.5),
    ],
    ids=["greedy", "sampled", "probe", "feature"],
)
def test_scores_from_embeddings_are_the_same_and_have_slopes(event):
    leaf_BSD, inputs = embedded()
    score_B = event.outcome(MODEL, inputs).score_B
    torch.testing.assert_close(score_B.detach(), event.outcome(MODEL, INPUTS).score_B, atol=1e-4, rtol=0)
    (slope_BSD,) = torch.autograd.grad(score_B.sum(), leaf_BSD)
    assert bool((slope_BSD[:, -1].abs().amax(-1) > 0).any())


def test_the_text_of_the_greedy_answer_is_judged():
    pool = prompt_pool(MODEL, ["Hello", "x"], chat=False)
    texts = [answer.text for answer in generate(MODEL, ["Hello", "x"], max_new_tokens=4, chat=False)]
    event = TextMatches(matches=lambda text: text == texts[0], label="first", n_generated=4)
    look = Look(Problem(model=MODEL, inputs=pool, event=event), Budget(forward=10))
    assert look.room() == 2
    seen = look.at(torch.tensor([[0], [1]]))
    assert seen.value_N.tolist() == [1.0, float(texts[1] == texts[0])]
    assert look.ledger.forward == 10 and look.ledger.generated_tokens == 8
    judged = Judge(judge=lambda text: len(text) / 100, label="long", threshold=0.02, n_generated=4)
    assert judged.name == "long >= 0.02"
    expected = [len(text) / 100 - 0.02 for text in texts]
    rows = pool.rows(torch.tensor([[0], [1]]))
    assert judged.outcome(MODEL, padded_inputs(MODEL, rows)).score_B.tolist() == pytest.approx(expected)


def test_a_rule_of_one_line_becomes_a_matcher():
    assert text_matcher("words:whale*, sea")("Two WHALES") and not text_matcher("words:whale")("whales")
    assert text_matcher("contains:ea")("sea") and not text_matcher("contains:Sea")("sea")
    assert text_matcher("regex:^No")("No way") and not text_matcher("regex:^No")("oh No")
    for rule in ("whale", "words:", "regex:(", "python:print"):
        with pytest.raises(ConfigError, match=r"rule for text|regular expression"):
            text_matcher(rule)


def test_settings_and_scores_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="at least one token"):
        GreedySequence(())
    with pytest.raises(ConfigError, match="not in the vocabulary"):
        GreedySequence((7, 10_000)).outcome(MODEL, INPUTS)
    with pytest.raises(ConfigError, match="limit at 0"):
        SampledSequence((7,), 0.0)
    with pytest.raises(ConfigError, match="from 0 to 1"):
        Judge(judge=lambda text: math.nan, label="broken", n_generated=1).outcome(MODEL, INPUTS)
