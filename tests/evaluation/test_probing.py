"""Sparse probing on the tiny model: a planted label is found, nothing is found where nothing is, figures resume."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from evaluation.planted_texts import HOOKPOINT, letter_set, reader
from tiny import tiny_model

from bathyscope import artifacts
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation import probing as room
from bathyscope.evaluation.labelled import LabelledSet, LabelledText, draw_task
from bathyscope.evaluation.pooling import Pooled
from bathyscope.evaluation.probe_table import task_scores
from bathyscope.evaluation.probing import ProbeSettings, probe

SETTINGS = ProbeSettings(n_texts=80, k=(1, 2), n_shuffles=6, tokens_per_batch=512)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("scores") / "probe"
    silent = dataclasses.replace(
        reader(model), weights=dataclasses.replace(reader(model).weights, b_enc=torch.full((20,), -1e4))
    )
    dictionaries = {"reader": reader(model), "silent": silent}
    rows = probe(model, dictionaries, tasks=[letter_set(), letter_set("z", letter="Z")], out=out, settings=SETTINGS)
    return out, {(row.subject, row.metric): row for row in rows}


def test_a_feature_that_reads_the_label_gives_it_away_alone(found):
    out, rows = found
    assert rows["reader · k=1", "accuracy · letter"].value == 1
    assert rows["reader · k=1", "AUROC · letter"].value == 1
    chosen = [json.loads(line) for line in (out / "probes.jsonl").read_text().splitlines()]
    one = next(e for e in chosen if (e["task"], e["subject"]) == ("letter", "reader · k=1"))
    assert one["features"] == [3] and one["weights"][0] > 0


def test_a_dictionary_that_never_fires_is_at_chance(found):
    _, rows = found
    assert rows["silent · k=2", "accuracy · letter"].value == 0.5
    assert rows["silent · k=2", "AUROC · letter"].value == 0.5
    assert rows["silent · k=1", "accuracy gain over channels · mean of tasks"].value <= 0


def test_every_baseline_stands_in_the_same_table(found):
    _, rows = found
    subjects = {subject for subject, _ in rows}
    assert {
        "residual channels · k=1",
        "residual probe",
        "difference of means",
        "bag of words",
        "random dictionary · k=1",
        "residual probe, shuffled labels",
        "reader, shuffled labels · k=2",
        "random dictionary, shuffled labels · k=2",
    } <= subjects
    for task in ("letter", "z"):
        assert rows["bag of words", f"accuracy · {task}"].value == 1
        assert rows["residual probe", f"accuracy · {task}"].value > 0.9
    for row in rows.values():
        assert row.low <= row.value + 1e-9 and row.value <= row.high + 1e-9, row


def test_means_over_tasks_are_means_and_gains_are_paired(found):
    _, rows = found
    for subject in ("reader · k=1", "residual channels · k=1"):
        values = [rows[subject, f"accuracy · {task}"].value for task in ("letter", "z")]
        assert rows[subject, "accuracy · mean of tasks"].value == pytest.approx(np.mean(values))
    gain = rows["reader · k=1", "accuracy gain over channels · mean of tasks"]
    means = [rows[s, "accuracy · mean of tasks"].value for s in ("reader · k=1", "residual channels · k=1")]
    assert gain.value == pytest.approx(means[0] - means[1]) and gain.unit == "tasks"


def noise_task(n=400, width=30, seed=0):
    examples = [LabelledText(f"{i}", bool(i % 2), f"{i}") for i in range(n)]
    task = draw_task(LabelledSet(name="noise", question="", examples=examples), n_texts=n, seed=seed)
    x_TD = torch.randn(len(task.texts), width, generator=torch.Generator().manual_seed(seed))
    return task, Pooled(residual_TD=x_TD, codes={"d": x_TD.clone()}, tokens_T=torch.ones(len(x_TD)).long())


def test_shuffled_labels_and_pure_noise_are_at_chance():
    task, pooled = noise_task()
    rows, _ = task_scores(task, pooled, ks=(1, 5), n_shuffles=20, seed=0)
    values = {row.subject: row for row in rows if row.metric.startswith("accuracy")}
    for subject in ("d, shuffled labels · k=5", "residual probe, shuffled labels"):
        assert abs(values[subject].value - 0.5) < 0.04 and values[subject].unit == "orders"
    assert abs(values["d · k=5"].value - 0.5) < 0.1


@pytest.mark.parametrize("n", [100, 400])  # 25 texts of a label in a half, and 100
def test_a_label_carried_by_the_strongest_direction_still_has_a_null_that_covers_a_half(n):
    task, pooled = noise_task(n)
    pooled.residual_TD[:, 0] += 20 * torch.from_numpy(task.labels_T)
    rows, _ = task_scores(task, pooled, ks=(1,), n_shuffles=20, seed=0)
    null = next(row for row in rows if row.subject == "residual probe, shuffled labels")
    assert null.low <= 0.5 <= null.high
    assert next(row for row in rows if row.subject == "residual channels · k=1").value == 1


def test_features_are_chosen_on_the_training_half_only():
    task, pooled = noise_task()
    _, chosen = task_scores(task, pooled, ks=(2,), n_shuffles=1, seed=0)
    pooled.codes["d"][~task.is_train_T, 4] = torch.from_numpy(100.0 * task.labels_T[~task.is_train_T]).float()
    _, again = task_scores(task, pooled, ks=(2,), n_shuffles=1, seed=0)
    assert chosen == again


def test_an_interrupted_run_resumes_to_the_same_bytes(model, tmp_path, monkeypatch):
    tasks = [letter_set(), letter_set("z", letter="Z"), letter_set("k", letter="K")]

    def go(out):
        return probe(model, {"reader": reader(model)}, tasks=tasks, out=out, settings=SETTINGS)

    whole, calls, scored = go(tmp_path / "whole"), [], room.task_scores

    def fail_at_the_second(*arguments, **keywords):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return scored(*arguments, **keywords)

    monkeypatch.setattr(room, "task_scores", fail_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path / "cut")
    assert go(tmp_path / "cut") == whole
    assert len(calls) == 4, "the first task was not scored again"
    digests = [artifacts.read_manifest(tmp_path / name).digest for name in ("whole", "cut")]
    assert digests[0] == digests[1]


def test_a_finished_folder_is_read_without_the_model(model, found, monkeypatch):
    monkeypatch.setattr(room, "pool", None)
    out, rows = found
    manifest = artifacts.read_manifest(out)
    assert manifest.config["tasks"].keys() == {"letter", "z"} and len(rows) > 20


def test_without_dictionaries_the_baselines_alone_are_measured(model, tmp_path):
    rows = probe(model, {}, hookpoint=HOOKPOINT, tasks=[letter_set()], out=tmp_path / "s", settings=SETTINGS)
    assert {row.subject.partition(" · ")[0] for row in rows} == {
        "residual channels",
        "residual channels, shuffled labels",
        "residual probe",
        "residual probe, shuffled labels",
        "difference of means",
        "bag of words",
    }


@pytest.mark.parametrize(
    ("changes", "given", "error", "message"),
    [
        ({"hookpoint": "layers.2"}, HOOKPOINT, ConfigError, "layers.0, layers.2 are named"),
        ({"hookpoint": None}, None, ConfigError, "no hookpoint is named"),
        ({"model_identity": {"name": "other", "sha256": "f" * 64}}, None, ModelError, "belongs to other"),
    ],
)
def test_dictionaries_that_do_not_belong_are_refused(model, tmp_path, changes, given, error, message):
    dictionary = dataclasses.replace(reader(model), **changes)
    with pytest.raises(error, match=message):
        probe(model, {"a": dictionary}, hookpoint=given, tasks=[letter_set()], out=tmp_path / "s", settings=SETTINGS)
    assert not list(tmp_path.iterdir())


def test_names_of_baselines_and_repeated_or_unknown_sets_are_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="which is the name of a baseline"):
        probe(model, {"random dictionary": reader(model)}, tasks=[letter_set()], out=tmp_path / "s")
    with pytest.raises(ConfigError, match="none twice"):
        probe(model, {}, hookpoint=HOOKPOINT, tasks=[letter_set(), letter_set()], out=tmp_path / "s")
    with pytest.raises(ConfigError, match="no labelled set is named 'span'; nearest: spam"):
        probe(model, {}, hookpoint=HOOKPOINT, tasks=["span"], out=tmp_path / "s")
    with pytest.raises(ConfigError, match="k is"):
        ProbeSettings(k=(0, 1))
