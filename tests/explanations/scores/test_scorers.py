"""Single scorers against what they should say of passages made by hand."""

import pytest
import torch
from explanations.letters import Babbler, Reader
from tiny import tiny_model

from bathyscope.explanations.passages import Passage
from bathyscope.explanations.prompts import prompt
from bathyscope.explanations.scores.detection import Detection, shares
from bathyscope.explanations.scores.embedding import Embedding, mean_embedding
from bathyscope.explanations.scores.fuzzing import marks_of
from bathyscope.explanations.scores.intruder import Intruder
from bathyscope.explanations.scores.simulation import Simulation, expected, listed, parsed
from bathyscope.explanations.scores.surprisal import NEUTRAL, Surprisal
from bathyscope.models.log_probs import log_probs
from bathyscope.models.prompts import text_tokens
from bathyscope.models.writers.writer import Verdict


def passage(text: str, *, fires_on: str = "", document: int = 0, group: str = "high") -> Passage:
    """A passage of single letters, firing with strength 2 of at most 4 on some."""
    return Passage(
        feature=0,
        document=document,
        token=document,
        group=group if any(letter in fires_on for letter in text) else "silent",
        strings=tuple(text),
        values=tuple(2.0 * (letter in fires_on) for letter in text),
        maximum=4.0,
    )


PASSAGES = [passage("a zebra", fires_on="z"), passage("a horse", document=1)]


def test_a_judge_that_hardly_names_a_choice_has_not_answered():
    assert shares(Verdict(p=((0.03, 0.01),))) is None
    assert shares(Verdict(p=None)) is None
    assert shares(Verdict(p=((0.06, 0.02),))) == (0.75, 0.25)


def test_detection_keeps_the_class_of_every_passage():
    found = Detection(judge=Reader(), prompt=prompt("detection")).measure("the letter z", PASSAGES)
    assert [(row.truth, row.value, row.group) for row in found] == [
        ((1.0,), (1.0,), "high"),
        ((0.0,), (0.0,), "silent"),
    ]
    none = Detection(judge=Babbler(), prompt=prompt("detection")).measure("the letter z", PASSAGES)
    assert [(row.truth, row.value) for row in none] == [((1.0,), None), ((0.0,), None)]


def test_quiet_passages_get_as_many_marks_as_firing_ones():
    passages = [passage("azzb", fires_on="z"), passage("abcdefgh", document=1), passage("ab", document=2)]
    marks = marks_of(passages, seed=0)
    assert marks[0] == (False, True, True, False)
    assert [sum(own) for own in marks[1:]] == [2, 2]
    assert marks == marks_of(passages, seed=0)
    places = {marks_of(passages, seed=seed)[1] for seed in range(8)}
    assert len(places) > 3, "not at a fixed place"


def test_expected_strengths_are_the_mean_digit():
    p = [0.0] * 10
    p[4], p[8] = 0.1, 0.3
    assert expected(Verdict(p=(tuple(p), tuple(2 * x for x in p)))) == (7.0, 7.0)
    assert expected(Verdict(p=((0.0,) * 10,))) is None
    assert expected(Verdict(p=None)) is None


def test_written_strengths_are_read_or_are_no_answer():
    assert parsed("a:1\n::2\n b: 9 \n", 3) == (1.0, 2.0, 9.0)
    assert parsed("a:1\nb:2", 3) is None
    assert parsed("I would say it fires on the verbs.", 3) is None
    assert listed(["a", " b"]).startswith("a:?\n b:?\n")


def test_simulated_strengths_stand_beside_shares_of_the_maximum():
    (row, _) = Simulation(judge=Reader(), prompt=prompt("simulation")).measure("the letter z", PASSAGES)
    assert row.truth == (0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0)
    assert row.value == (0.0, 0.0, 9.0, 0.0, 0.0, 0.0, 0.0)


def test_an_intruder_stands_among_passages_of_one_interval_each_once():
    firing = [passage(f"{x}z", fires_on="z", document=i) for i, x in enumerate("abcdefgh")]
    quiet = [passage("xy", document=10), passage("yx", document=11), passage("xx", document=12)]
    judge = Reader()
    found = Intruder(judge=judge, prompt=prompt("intruder")).measure("", [*firing, *quiet])
    assert [(row.document, row.value) for row in found] == [(10, (1.0,)), (11, (1.0,))]
    assert all(text.count("<<z>>") == 4 for text in judge.asked)


def test_surprisal_is_the_gain_in_log_probability_per_token():
    model = tiny_model()
    (row,) = Surprisal(model=model).measure("a ship", PASSAGES[:1])
    gains = []
    for words in ("a ship", NEUTRAL):
        head, text = text_tokens(model, f"Description: {words}.\nText:"), [ord(letter) for letter in " a zebra"]
        gains.append(float(log_probs(model, [head + text])[0][-len(text) :].mean()))
    assert row.value is not None and row.value[0] == pytest.approx(gains[0] - gains[1], abs=1e-6)


def test_embedding_is_the_cosine_of_description_and_passage():
    vectors = {"ships": (1.0, 0.0), "a zebra": (1.0, 1.0), "a horse": (0.0, 1.0)}
    found = Embedding(embed=lambda texts: torch.tensor([vectors[text] for text in texts])).measure("ships", PASSAGES)
    assert [row.value for row in found] == [(pytest.approx(0.5**0.5),), (pytest.approx(0.0),)]
    model = tiny_model()
    W_VD = model.network.get_input_embeddings().weight
    assert torch.allclose(mean_embedding(model)(["ab"])[0], (W_VD[97] + W_VD[98]) / 2 - W_VD.mean(0), atol=1e-6)
