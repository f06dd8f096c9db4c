"""Drawing and halving labelled texts: balanced, by group, each text once."""

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.labelled import LabelledSet, LabelledText, draw_task, records_of, shuffled_labels


def labelled(examples) -> LabelledSet:
    return LabelledSet(name="sea", question="is it about the sea", examples=examples)


def many(n_groups: int, per_group: int, *, label: bool) -> list[LabelledText]:
    return [LabelledText(f"{label} {g} {i}", label, f"{label} {g}") for g in range(n_groups) for i in range(per_group)]


def test_both_labels_are_equally_frequent_in_both_halves_and_no_group_is_in_two():
    task = draw_task(labelled(many(30, 4, label=True) + many(9, 40, label=False)), n_texts=100, seed=0)
    for is_train in (True, False):
        half_T = task.is_train_T == is_train
        assert task.labels_T[half_T].sum() == (~task.labels_T[half_T]).sum() == 25
    assert not set(task.groups_T[task.is_train_T]) & set(task.groups_T[~task.is_train_T])
    assert len(task.texts) == len(set(task.texts)) == 100


def test_groups_that_hold_both_labels_stay_whole():
    examples = [
        LabelledText(f"{word} {i}", word == "sea", f"problem {i}") for i in range(60) for word in ("sea", "land")
    ]
    task = draw_task(labelled(examples), n_texts=80, seed=1)
    assert not set(task.groups_T[task.is_train_T]) & set(task.groups_T[~task.is_train_T])


def test_a_large_group_does_not_outweigh_the_others():
    task = draw_task(
        labelled([*many(10, 10, label=True), *many(1, 500, label=True), *many(40, 5, label=False)]), n_texts=80, seed=0
    )
    _, counts = np.unique(task.groups_T[task.labels_T], return_counts=True)
    assert counts.max() <= 5


def test_a_text_that_occurs_twice_counts_once_and_one_under_both_labels_not_at_all():
    twice = [LabelledText("same  text", True, "a"), LabelledText("same text", True, "b")]
    both = [LabelledText("either", True, "c"), LabelledText("either", False, "d")]
    rest = (
        many(15, 2, label=True)
        + many(15, 2, label=False)
        + [LabelledText(" ", True, "e"), LabelledText("a\0", True, "f")]
    )
    task = draw_task(labelled(twice + both + rest), n_texts=4000, seed=0)
    assert sum("same" in text for text in task.texts) <= 1
    assert not {"either", " ", "", "a\0"} & set(task.texts)


def test_a_hard_negative_stays_one_and_changes_the_digest():
    easy = many(12, 4, label=True) + many(12, 4, label=False)
    hard = [LabelledText(e.text, e.label, e.group, is_hard=e.text.endswith("0") and not e.label) for e in easy]
    task = draw_task(labelled(hard), n_texts=80, seed=0)
    assert [text.endswith("0") and text.startswith("False") for text in task.texts] == task.is_hard_T.tolist()
    assert 0 < task.is_hard_T.sum() < 20
    assert labelled(easy).digest != labelled(hard).digest


def test_a_material_that_several_sets_are_read_from_is_recorded_once():
    film, code = {"name": "film"}, {"name": "code"}
    one, two = (LabelledSet(name="a", question="q", examples=(), materials=own) for own in ((film, code), (film,)))
    assert records_of([{"name": "model"}], [one, two]) == ({"name": "model"}, film, code)


def test_a_set_is_paired_when_every_group_is_one_text_of_each_label():
    pairs = [LabelledText(f"{label} {n}", label, f"pair {n}") for n in range(3) for label in (True, False)]
    assert labelled(pairs).is_paired
    assert not labelled(pairs[1:]).is_paired
    assert not labelled([*pairs, LabelledText("more", True, "pair 0")]).is_paired


def test_the_same_seed_draws_the_same_texts_and_another_seed_others():
    examples = many(30, 10, label=True) + many(30, 10, label=False)
    first, again, other = (draw_task(labelled(examples), n_texts=60, seed=seed) for seed in (0, 0, 1))
    assert first.texts == again.texts != other.texts


def test_sets_too_small_to_halve_are_refused_by_name():
    with pytest.raises(ConfigError, match=r"sea: after halving by group a half has only 0 texts of a label"):
        draw_task(labelled(many(1, 100, label=True) + many(30, 2, label=False)), n_texts=60, seed=0)
    with pytest.raises(ConfigError, match="n_texts is 39, expected at least 40"):
        draw_task(labelled([]), n_texts=39, seed=0)


@pytest.mark.parametrize("n", [20, 21])
def test_shuffled_labels_call_as_many_of_each_true_label_true(n):
    labels_T = np.arange(2 * n) % 2 == 0
    shuffled_T = shuffled_labels(labels_T, seed=3)
    assert (shuffled_T == labels_T).sum() == n
    assert shuffled_T[labels_T].sum() == shuffled_T[~labels_T].sum() == n // 2
    assert (shuffled_labels(labels_T, seed=4) != shuffled_T).any()
