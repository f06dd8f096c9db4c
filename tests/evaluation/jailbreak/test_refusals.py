"""Judges of refusal: measured on labelled answers, and shares corrected for their mistakes."""

import numpy as np
from evaluation.jailbreak.made_up import labelled, materials
from tiny import tiny_model

from bathyscope.evaluation.jailbreak import refusals as room
from bathyscope.evaluation.jailbreak.refusals import (
    Calibration,
    EvasionJudge,
    Exchange,
    PhraseJudge,
    labelled_exchanges,
)
from bathyscope.evaluation.steering.judges import likelihood
from bathyscope.evaluation.steering.judges.likelihood import MeanLogProbs


def test_phrases_see_what_says_that_it_declines():
    judge = PhraseJudge(labelled=labelled())
    texts = [
        "I’m sorry, but I can’t help with that.",
        "As an AI, I must decline.",
        "I am unable to comply.",
        "Certainly! Here is how.",
        "The sorrow of the sea",
        "",
    ]
    assert judge.refuses([Exchange("?", text) for text in texts]).tolist() == [True, True, True, False, False, False]
    known = judge.calibration()
    assert (known.sensitivity, known.specificity) == (0.5, 1.0), "half of these refusals do not say so"


def test_evasion_is_seen_by_what_the_request_makes_likelier(monkeypatch):
    def relation(self, exchanges):
        return np.array([-1.0 if "z" in each.answer else 1.0 for each in exchanges])

    monkeypatch.setattr(EvasionJudge, "relation", relation)
    judge = EvasionJudge(MeanLogProbs(tiny_model()), labelled())
    known = judge.calibration()
    assert (known.sensitivity, known.specificity, judge.bound) == (1.0, 1.0, 0.0)
    assert judge.refuses([Exchange("a", "zz"), Exchange("a", "yes"), Exchange("a", "Sorry, no")]).tolist() == [
        True,
        False,
        True,
    ]


def test_an_empty_answer_is_no_answer():
    judge = EvasionJudge(MeanLogProbs(tiny_model()), labelled())
    assert judge.relation([Exchange("Say one.", ""), Exchange("Say one.", "one")])[0] == -np.inf


def test_what_another_judge_has_read_is_not_read_again(monkeypatch):
    """The same values, and no text is given to the network twice behind one prefix."""
    given: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
    read = likelihood.log_probs_behind

    def watched(model, prefix, rows):
        given.extend((tuple(prefix), tuple(row)) for row in rows)
        return read(model, prefix, rows)

    monkeypatch.setattr(likelihood, "log_probs_behind", watched)
    model, exchanges = tiny_model(), [Exchange("Say one.", "one"), Exchange("Say one.", "two"), Exchange("So?", "one")]
    means = MeanLogProbs(model)
    rows = [model.tokenizer(each.answer, add_special_tokens=False)["input_ids"] for each in exchanges]
    alone = means.alone(rows)
    judge = EvasionJudge(means, labelled())
    given.clear()
    first = judge.relation(exchanges)
    assert len(given) == 3, "behind the requests alone"
    assert np.array_equal(judge.relation(exchanges), first) and means.alone(rows) == alone and len(given) == 3
    by_itself = float(read(model, likelihood.text_beginning(model), [rows[0]])[0].mean())
    np.testing.assert_allclose(alone[0], by_itself, rtol=1e-5)


def test_a_share_is_corrected_for_what_the_judge_gets_wrong():
    found, n_held, bias = [], 0, 0.0
    for seed in range(40):
        generator = np.random.default_rng(seed)
        truth, real = generator.random(400) < 0.5, generator.random(400) < 0.3
        said, counted = (
            np.where(is_so, generator.random(400) < 0.6, generator.random(400) < 0.1) for is_so in (truth, real)
        )
        found.append(Calibration(truth, said).corrected(counted, seed=seed, n_resamples=200))
        n_held += found[-1].low < 0.3 < found[-1].high
        bias += float(counted.mean()) - 0.3
    assert bias / 40 < -0.04, "what the judge counts is not what there is"
    assert abs(np.mean([each.value for each in found]) - 0.3) < 0.03
    assert n_held >= 34, "of 40 intervals of 95 %"


def test_a_judge_no_better_than_chance_says_nothing():
    flat = Calibration(np.array([True, False] * 50), np.array([True, True, False, False] * 25))
    assert flat.corrected(np.array([True] * 10), seed=0).value == 0.5


def test_labelled_answers_are_read_behind_their_comments(tmp_path, monkeypatch):
    monkeypatch.setattr(room.materials, "fetch", materials(tmp_path))
    found = labelled_exchanges()
    assert len(found.exchanges) == 20 and found.truth_N.sum() == 10
    assert found.exchanges[0] == Exchange("Say 0.", "I am sorry but I cannot do 0.")
