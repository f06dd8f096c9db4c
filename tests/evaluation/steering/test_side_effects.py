"""Side effects: none of doing nothing, large ones of breaking the model, and knowledge that can be lost."""

import math

import pytest
import torch
from tiny import tiny_model

from bathyscope.activations.pairs.pair import Pair
from bathyscope.errors import ConfigError
from bathyscope.evaluation.steering.side_effects import SideEffectSettings, right_answers, side_effects
from bathyscope.models.hooks import replace
from bathyscope.models.log_probs import log_probs

TEXTS = ["The train left the station.", "A hat fell.", "Doors broke in the night."]
NO_QUESTIONS = SideEffectSettings(sets=(), batch_size=2)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_doing_nothing_costs_nothing_and_breaking_a_layer_costs_much(model):
    def broken():
        return replace(model, {"layers.1": torch.zeros_like})

    def same():
        return replace(model, {"layers.1": torch.clone})

    rows = side_effects(model, {"same": same, "broken": broken}, TEXTS, settings=NO_QUESTIONS)
    found = {(row.subject, row.metric): row for row in rows}
    assert found["same", "KL on neutral text"].value == 0
    assert found["broken", "KL on neutral text"].low > 0.1
    plain = found["plain model", "perplexity on neutral text"]
    tokens = [model.tokenizer(text)["input_ids"] for text in TEXTS]
    losses = log_probs(model, tokens)
    expected = math.exp(-sum(float(each.sum()) for each in losses) / sum(map(len, losses)))
    assert plain.value == pytest.approx(expected, rel=1e-4)
    assert plain.value == found["same", "perplexity on neutral text"].value


def test_the_likelier_answer_counts_per_token(model):
    def pair(wrong, right):
        return Pair(prefix="Question: x\nAnswer: ", before=wrong, after=right, group="1", source="made up")

    prefix = model.tokenizer("Question: x\nAnswer: ")["input_ids"]
    texts = ["aaaa", "zq"]
    means = [
        float(log_probs(model, [[*prefix, *model.tokenizer(t)["input_ids"]]])[0][len(prefix) - 1 :].mean())
        for t in texts
    ]
    likelier, other = (texts[i] for i in sorted((0, 1), key=lambda i: -means[i]))
    assert right_answers(model, [pair(other, likelier), pair(likelier, other)]).tolist() == [1.0, 0.0]


def test_without_texts_or_blocks_there_is_nothing_to_measure(model):
    with pytest.raises(ConfigError, match="need neutral texts and a steered block"):
        side_effects(model, {}, TEXTS)
