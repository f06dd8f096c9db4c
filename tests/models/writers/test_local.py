"""A local model as a judge: its probabilities are those of a plain forward, at one place or at several."""

import pytest
import torch
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.prompts import prompt_tokens
from bathyscope.models.writers.local import LocalWriter
from bathyscope.models.writers.writer import Judge, Question, Writer


def plain(model, row: list[int], place: int, choices: str) -> list[float]:
    """Reference: the whole row read at once, without anything kept."""
    logits_V = model.network(input_ids=torch.tensor([row[: place + 1]])).logits[0, -1]
    p_V = logits_V.double().softmax(-1)
    return [float(p_V[ord(choice)]) for choice in choices]


def test_a_verdict_is_the_probability_of_each_choice_as_the_next_token(tiny_model):
    judge = LocalWriter(model=tiny_model)
    questions = [Question(prompt=text, choices=("Y", "N")) for text in ("Is it a ship?", "Is it a sheep?")]
    for question, verdict in zip(questions, judge.choose(questions), strict=True):
        row = prompt_tokens(tiny_model, question.prompt)
        assert verdict.p is not None
        assert verdict.p[0] == pytest.approx(plain(tiny_model, row, len(row) - 1, "YN"), abs=1e-6)


def test_the_second_question_reads_only_what_differs(tiny_model):
    judge = LocalWriter(model=tiny_model)
    first, second = judge.choose([Question(prompt=f"the same words, then {x}", choices=("Y", "N")) for x in "ab"])
    assert second.n_read < first.n_read / 2


def test_places_are_filled_in_order_and_earlier_answers_are_not_seen(tiny_model):
    judge = LocalWriter(model=tiny_model)
    question = Question(prompt="rate", choices=("0", "9"), pieces=("a:", "b:", "c:"), filler="?")
    (verdict,) = judge.choose([question])
    row = prompt_tokens(tiny_model, "rate") + [ord(letter) for letter in "a:?b:?c:"]
    assert verdict.p is not None and len(verdict.p) == 3
    for number, place in enumerate((7, 4, 1)):
        assert verdict.p[number] == pytest.approx(plain(tiny_model, row, len(row) - place, "09"), abs=1e-6)


def test_a_choice_of_several_tokens_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="'Yes' is 3 tokens"):
        LocalWriter(model=tiny_model).choose([Question(prompt="a", choices=("Yes", "No"))])


@pytest.mark.parametrize("changes", [{"choices": ("Y",)}, {"choices": ("Y", "Y")}, {"pieces": ()}])
def test_a_question_without_a_choice_is_refused(changes):
    with pytest.raises(ConfigError, match="two different choices and a place"):
        Question(**{"prompt": "a", "choices": ("Y", "N"), **changes})


def test_a_local_model_is_a_writer_and_a_judge():
    local = LocalWriter(model=tiny_model(), max_new_tokens=3)
    assert isinstance(local, Writer) and isinstance(local, Judge)
    (answer,) = local.write(["hello"])
    assert answer.n_written == 3 or answer.ended
    assert answer.n_read == len(prompt_tokens(local.model, "hello"))
