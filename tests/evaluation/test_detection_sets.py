"""The sets of the detection bench: every name opens, pairs stay whole, hard negatives are not lost among easy ones."""

import json

import pytest

from bathyscope.activations.pairs.answers import Answers
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.errors import ConfigError
from bathyscope.evaluation import detection_sets as room
from bathyscope.evaluation.detection_sets import DETECTION_SETS, cut, open_sets
from bathyscope.evaluation.labelled import LabelledSet, LabelledText, draw_task
from bathyscope.evaluation.tasks import TASKS


def made(examples) -> LabelledSet:
    return LabelledSet(name="made", question="is it so", examples=examples)


def test_every_default_set_has_a_reader_and_topics_open_without_a_material():
    written = room._written()
    assert set(DETECTION_SETS) <= {room.TRUTH, room.DECLINED, *written, *TASKS}
    sea = open_sets(["sea"], n_texts=120, seed=0)["sea"]
    assert sea.is_paired and all(each.is_hard != each.label for each in sea.examples)


def test_pairs_stay_whole_whatever_is_drawn():
    pairs = [LabelledText(f"{label} {n}", label, f"pair {n}") for n in range(200) for label in (True, False)]
    kept = cut(made(pairs), n_texts=60, seed=0)
    task = draw_task(kept, n_texts=60, seed=3)
    assert kept.is_paired and len(task.texts) == 60
    assert {sum(task.groups_T == group) for group in task.groups_T} == {2}
    assert kept.digest != cut(made(pairs), n_texts=60, seed=1).digest


def test_there_are_as_many_other_negatives_as_hard_ones():
    texts = [LabelledText(f"true {n}", True, f"t{n}") for n in range(50)]
    texts += [LabelledText(f"hard {n}", False, f"h{n}", is_hard=True) for n in range(20)]
    texts += [LabelledText(f"easy {n}", False, f"e{n}") for n in range(300)]
    kept = cut(made(texts), n_texts=120, seed=0).examples
    assert (sum(e.label for e in kept), sum(e.is_hard for e in kept), len(kept)) == (50, 20, 90)
    few = made(texts[:75])
    assert cut(few, n_texts=120, seed=0) == few


def test_a_truth_text_is_a_question_with_its_answer(monkeypatch):
    pair = Pair(
        prefix="Question: x?\nAnswer: ", before="no", after="yes", support={"truth": True}, group="q 1", source="q"
    )
    drawn = PairSet(name="q", factors=("truth",), pairs=(pair,), materials=({"name": "m"},))
    monkeypatch.setattr(Answers, "draw", lambda self, n, seed: drawn)
    truth = room._opened(room.TRUTH)
    assert [(e.text, e.label, e.group, e.is_hard) for e in truth.examples] == [
        ("Question: x?\nAnswer: yes", True, "q 1", False),
        ("Question: x?\nAnswer: no", False, "q 1", True),
    ]
    assert truth.materials == ({"name": "m"},)


def test_own_texts_are_a_set_and_unknown_or_double_names_are_refused(tmp_path):
    file = tmp_path / "mine.jsonl"
    file.write_text("".join(json.dumps({"text": f"a {n}", "label": bool(n % 2)}) + "\n" for n in range(6)))
    assert list(open_sets([str(file)], n_texts=40, seed=0)) == ["mine"]
    with pytest.raises(ConfigError, match="nearest: declined"):
        open_sets(["declind"], n_texts=40, seed=0)
    with pytest.raises(ConfigError, match="none twice"):
        open_sets(["sea", "sea"], n_texts=40, seed=0)
    with pytest.raises(ConfigError, match="at least one"):
        open_sets([], n_texts=40, seed=0)
