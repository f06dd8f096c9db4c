"""The bench of detection, whole, on a tiny model: what is planted wins, nulls are at a half, and it resumes."""

import dataclasses
import json

import pytest
from tiny import tiny_model
from vectors.planted import PLACE, _added, knowing_dictionary, labelled

from bathyscope import artifacts
from bathyscope.errors import ConfigError
from bathyscope.studies import detection as room
from bathyscope.studies.detection import (
    BY_CODE,
    NULLS,
    RANDOM_BEST,
    SHUFFLED_TOO,
    WORDS,
    DetectionBench,
    bench_detection,
)
from bathyscope.studies.detection_table import ABOVE, GAIN, MEAN
from bathyscope.studies.methods import BY_AUROC, DENOISED, FROM_LABELS, REFT, SHIFTS
from bathyscope.vectors.contrast import Halved, ReadSettings, contrast_of_texts
from bathyscope.vectors.detection import HARD, OTHER, RANDOM, SHUFFLED
from bathyscope.vectors.learn import VectorSettings
from bathyscope.vectors.logistic import LogisticProbe
from bathyscope.vectors.multimax import MultiMax
from bathyscope.vectors.reft import ReFTr1

QUICK = {**FROM_LABELS, "logistic probe": LogisticProbe(penalty=0.01), "MultiMax probe": MultiMax(n_steps=30)}
"""The same ways without a search for a penalty, and with fewer steps."""


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """Three sets of the same texts, whose words say nothing; two of them get a direction added to true texts."""
    folder = tmp_path_factory.mktemp("bench")
    knowing_dictionary(tiny_model()).save(folder / "dictionary")
    for name in ("planted", "unpaired-planted", "nothing"):
        lines = [
            {
                "text": each.text,
                "label": each.label,
                "group": each.group if name != "unpaired-planted" else f"text {number}",
                "hard": name != "nothing" and not each.label and number % 4 == 1,
            }
            for number, each in enumerate(labelled(100).examples)
        ]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    settings = DetectionBench(
        model="tiny",
        hookpoint=PLACE,
        dictionary=folder / "dictionary",
        sets=tuple(str(folder / f"{name}.jsonl") for name in ("planted", "unpaired-planted", "nothing")),
        reading=ReadSettings(n_texts=100),
        reft=ReFTr1(n_epochs=1, max_steps=2),
        vectors=VectorSettings(n_random=30, n_shuffles=6),
    )
    with pytest.MonkeyPatch.context() as patch:
        _plant(patch)
        rows = bench_detection(settings, out=folder / "out")
    return folder, settings, {(row.subject, row.metric): row for row in rows}


def _planting(model, own, **given):
    contrast = contrast_of_texts(model, own, **given)
    if own.name == "nothing":
        return contrast
    return dataclasses.replace(contrast, places={PLACE: Halved(*(_added(half) for half in contrast.places[PLACE]))})


def _plant(patch):
    patch.setattr(room, "load_model", lambda _name: tiny_model())
    patch.setattr(room, "contrast_of_texts", _planting)
    patch.setattr(room, "FROM_LABELS", QUICK)


@pytest.fixture
def planting(monkeypatch):
    _plant(monkeypatch)


@pytest.mark.parametrize("name", ["planted", "unpaired-planted"])
def test_a_planted_direction_is_found_and_neither_words_nor_wrong_labels_find_it(bench, name):
    _, _, rows = bench
    for way in ("difference of means", "LAT", BY_AUROC, BY_CODE[BY_AUROC], "logistic probe"):
        assert rows[way, f"AUROC · {name}"].value > 0.95, way
        assert rows[way, f"F1 · {name}"].value > 0.85, way
        assert rows[way, f"{HARD} · {name}"].value < 0.3, way
    assert 0.3 < rows[WORDS, f"AUROC · {name}"].value < 0.7
    assert rows[RANDOM, f"AUROC · {name}"].value < rows["difference of means", f"AUROC · {name}"].value
    assert rows[f"difference of means, {SHUFFLED}", f"AUROC · {name}"].low < 0.6


def test_every_way_and_null_is_at_a_half_where_labels_say_nothing(bench):
    _, _, rows = bench
    areas = {subject: row for (subject, metric), row in rows.items() if metric == "AUROC · nothing"}
    ways = {*FROM_LABELS, REFT, SHIFTS, DENOISED, BY_AUROC, *BY_CODE.values(), RANDOM_BEST, WORDS, RANDOM}
    assert set(areas) == ways | NULLS
    for subject, row in areas.items():
        assert 0.3 < row.value < 0.7, subject
        if subject in {f"{way}, {SHUFFLED}" for way in SHUFFLED_TOO} | {RANDOM}:
            assert abs(row.value - 0.5) < 0.1, subject


def test_columns_of_shifts_are_tried_where_there_are_pairs_and_hard_negatives_counted_where_known(bench):
    _, _, rows = bench
    assert (SHIFTS, "AUROC · planted") in rows and (SHIFTS, "AUROC · unpaired-planted") not in rows
    assert {metric for subject, metric in rows if subject == WORDS and metric.startswith((HARD, OTHER))} == {
        f"{figure} · {name}" for figure in (HARD, OTHER) for name in ("planted", "unpaired-planted", MEAN)
    }


def test_means_and_gains_over_the_words_are_over_the_sets_of_a_way(bench):
    _, _, rows = bench
    names = ("planted", "unpaired-planted", "nothing")
    own, words = ([rows[way, f"AUROC · {name}"].value for name in names] for way in ("LAT", WORDS))
    assert rows["LAT", f"AUROC · {MEAN}"].value == pytest.approx(sum(own) / 3)
    assert rows["LAT", f"{GAIN} · {MEAN}"].value == pytest.approx((sum(own) - sum(words)) / 3)
    count = sum(a > b for a, b in zip(own, words, strict=True))
    assert rows["LAT", ABOVE].value == pytest.approx(count / 3)
    assert rows[SHIFTS, f"AUROC · {MEAN}"].n == 2
    assert (WORDS, ABOVE) not in rows


def test_the_table_has_every_set_and_marks_the_nulls(bench):
    folder, _, _ = bench
    table = (folder / "out" / "scores" / "table.md").read_text()
    assert all(f"| {null}° |" in table for null in NULLS)
    assert f"| {WORDS} | 3 |" in table and "## unpaired-planted" in table and "Learners saw pairs." in table


@pytest.mark.usefixtures("planting")
def test_an_interrupted_bench_goes_on_to_the_same_bytes(bench, tmp_path, monkeypatch):
    folder, settings, _ = bench
    learn, calls = room.learn_vector, []

    def fail_in_the_second_set(contrast, *arguments, **given):
        calls.append(contrast.name)
        if calls.count("unpaired-planted") == 3:
            raise KeyboardInterrupt
        return learn(contrast, *arguments, **given)

    monkeypatch.setattr(room, "learn_vector", fail_in_the_second_set)
    with pytest.raises(KeyboardInterrupt):
        bench_detection(settings, out=tmp_path / "cut")
    calls.clear()
    monkeypatch.setattr(
        room, "learn_vector", lambda contrast, *a, **g: calls.append(contrast.name) or learn(contrast, *a, **g)
    )
    bench_detection(settings, out=tmp_path / "cut")
    assert set(calls) == {"unpaired-planted", "nothing"}, "the first set is not learnt again"
    digests = {artifacts.read_manifest(out / "scores").digest for out in (folder / "out", tmp_path / "cut")}
    assert len(digests) == 1


@pytest.mark.usefixtures("planting")
def test_without_a_dictionary_the_other_ways_are_measured(bench, tmp_path):
    _, settings, _ = bench
    alone = dataclasses.replace(settings, dictionary=None, sets=settings.sets[2:])
    subjects = {row.subject for row in bench_detection(alone, out=tmp_path / "out")}
    assert {*FROM_LABELS, REFT, WORDS, RANDOM} <= subjects
    assert not {BY_AUROC, DENOISED, RANDOM_BEST, SHIFTS} & subjects


@pytest.mark.usefixtures("planting")
def test_bad_input_is_refused_before_anything_is_read(bench, tmp_path, monkeypatch):
    _, settings, _ = bench
    monkeypatch.setattr(room, "contrast_of_texts", None)
    with pytest.raises(ConfigError, match="no labelled set is named"):
        bench_detection(dataclasses.replace(settings, sets=("see",)), out=tmp_path / "a")
    with pytest.raises(ConfigError, match=r"layers\.0, layers\.1 are named"):
        bench_detection(dataclasses.replace(settings, hookpoint="layers.0"), out=tmp_path / "b")
    (tmp_path / "few.jsonl").write_text('{"text": "a", "label": true}\n{"text": "b", "label": false}\n')
    with pytest.raises(ConfigError, match="at least 10"):
        bench_detection(dataclasses.replace(settings, sets=(str(tmp_path / "few.jsonl"),)), out=tmp_path / "c")
    assert not list(tmp_path.glob("[abc]"))


def test_quick_is_written_out():
    quick = DetectionBench(quick=True).resolved()
    assert (len(quick.sets), quick.reading.n_texts, quick.quick) == (3, 80, False)
    assert DetectionBench().resolved() == DetectionBench()
    small = DetectionBench(quick=True, reading=ReadSettings(n_texts=40)).resolved()
    assert small.reading.n_texts == 40
    with pytest.raises(ConfigError, match="n_probe_shuffles"):
        DetectionBench(n_probe_shuffles=-1)
