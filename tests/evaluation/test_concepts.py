"""Features of concepts: a planted feature is found with its evidence, nothing is found where nothing is."""

import dataclasses
import json

import numpy as np
import pytest
import torch
from evaluation.planted_texts import letter_set, reader
from sklearn.metrics import roc_auc_score
from tiny import tiny_model

from bathyscope import artifacts
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation import concepts as room
from bathyscope.evaluation.concepts import (
    ConceptSettings,
    column_aurocs,
    concept_evidence,
    find_concepts,
)
from bathyscope.evaluation.labelled import LabelledSet, LabelledText, draw_task
from bathyscope.evaluation.pooling import Pooled
from bathyscope.evaluation.scores import read_scores

SETTINGS = ConceptSettings(n_texts=80, n_features=2, n_random=40, n_shuffles=6, tokens_per_batch=512)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def found(model, tmp_path_factory):
    out = tmp_path_factory.mktemp("concepts") / "out"
    sets = [letter_set(), letter_set("z", letter="Z")]
    features = find_concepts(
        model, reader(model), sets, brought={"letter": {3: "words", 7: "words"}}, out=out, settings=SETTINGS
    )
    return out, features


def test_the_planted_feature_is_found_with_full_evidence(found):
    _, features = found
    best = next(row for row in features if (row.concept, row.feature) == ("letter", 3))
    assert best.found_by == "contrast, words"
    assert best.auroc == best.recall == 1.0 and best.false_alarm == 0.0
    assert not best.beats_null, "this letter shows along every direction of the activation"


def test_brought_features_get_evidence_and_silent_ones_none(found):
    _, features = found
    silent = next(row for row in features if (row.concept, row.feature) == ("letter", 7))
    assert silent.found_by == "words"
    assert (silent.auroc, silent.recall, silent.false_alarm) == (0.5, 0.0, 0.0)
    assert (silent.threshold, silent.recall_above) == (None, 0.0)
    assert not silent.beats_null


def test_baselines_and_nulls_stand_beside(found):
    out, _ = found
    rows = {(row.subject, row.metric): row for row in read_scores(out)}
    assert rows["bag of words", "AUROC · letter"].value == 1
    assert rows["sparse probe · k=1", "AUROC · letter"].value == 1
    nulls = ("random features", "random directions", "best feature for shuffled labels")
    assert all((null, "AUROC · letter") in rows for null in nulls)
    table = (out / "table.md").read_text()
    assert "| 3 | contrast, words | 1.00 [1.00, 1.00] |" in table and "## z" in table


def noise(n=400, width=60, seed=0):
    examples = [LabelledText(f"{i}", bool(i % 2), f"{i}") for i in range(n)]
    task = draw_task(LabelledSet(name="noise", question="", examples=examples), n_texts=n, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    codes = torch.randn(len(task.texts), width, generator=generator).clamp_min(0)
    residual = torch.randn(len(task.texts), 8, generator=generator)
    return task, Pooled(residual_TD=residual, codes={"dictionary": codes}, tokens_T=torch.ones(len(codes)).long())


def test_a_feature_that_only_the_concept_drives_beats_every_null():
    task, pooled = noise()
    pooled.codes["dictionary"][:, 11] *= torch.from_numpy(task.labels_T)
    features, rows = concept_evidence(task, pooled, {20: "named"}, SETTINGS)
    best, named = features[0], features[-1]
    assert (best.feature, best.found_by, best.beats_null) == (11, "contrast", True)
    assert best.recall == pytest.approx(0.5, abs=0.1) and best.false_alarm == 0
    assert (named.feature, named.found_by, named.beats_null) == (20, "named", False)
    nulls = [row for row in rows if row.unit == "draws"]
    assert len(nulls) == 3 and best.null == max(row.high for row in nulls) < best.auroc


def test_a_feature_that_fires_everywhere_is_told_by_its_threshold():
    task, pooled = noise()
    pooled.codes["dictionary"][:, 11] = 1.0 + torch.from_numpy(task.labels_T).float()
    (best, *_), _ = concept_evidence(task, pooled, {}, SETTINGS)
    assert (best.feature, best.recall, best.false_alarm) == (11, 1.0, 1.0)
    assert (best.threshold, best.recall_above, best.false_alarm_above) == (1.5, 1.0, 0.0)


def test_where_nothing_is_few_features_beat_the_nulls():
    beating = 0
    for seed in range(6):
        task, pooled = noise(n=120, seed=seed)
        features, _ = concept_evidence(task, pooled, {}, dataclasses.replace(SETTINGS, n_features=5))
        beating += sum(row.beats_null for row in features)
    assert beating <= 1, "of 30"


def test_the_null_is_above_a_half_where_a_nuisance_shows_in_every_feature():
    task, pooled = noise()
    lengths = torch.rand(len(task.texts), generator=torch.Generator().manual_seed(1)) + torch.from_numpy(task.labels_T)
    pooled.codes["dictionary"].mul_(lengths[:, None])
    features, rows = concept_evidence(task, pooled, {}, SETTINGS)
    random = next(row for row in rows if row.subject == "random features")
    assert random.value > 0.55
    assert all(row.null >= random.high for row in features)


def test_column_aurocs_are_those_of_scikit_learn():
    rng = np.random.default_rng(0)
    x = np.round(rng.random((50, 6)), 1)
    x[:, 5] = 1.0
    labels = rng.random(50) < 0.4
    expected = [roc_auc_score(labels, column) for column in x.T]
    assert column_aurocs(x, labels) == pytest.approx(expected)
    assert expected[5] == 0.5


def test_an_interrupted_run_ends_with_the_same_bytes(model, found, tmp_path, monkeypatch):
    out, _ = found
    sets = [letter_set(), letter_set("z", letter="Z")]
    brought = {"letter": {3: "words", 7: "words"}}
    whole, calls = room.concept_evidence, []

    def stops(*given):
        calls.append(1)
        if len(calls) > 1:
            raise KeyboardInterrupt
        return whole(*given)

    monkeypatch.setattr(room, "concept_evidence", stops)
    with pytest.raises(KeyboardInterrupt):
        find_concepts(model, reader(model), sets, brought=brought, out=tmp_path / "cut", settings=SETTINGS)
    monkeypatch.setattr(room, "concept_evidence", whole)
    find_concepts(model, reader(model), sets, brought=brought, out=tmp_path / "cut", settings=SETTINGS)
    assert artifacts.read_manifest(out).digest == artifacts.read_manifest(tmp_path / "cut").digest
    assert [json.loads(line)["feature"] for line in (tmp_path / "cut" / "features.jsonl").read_text().splitlines()]


@pytest.mark.parametrize(
    ("sets", "brought", "message"),
    [
        ([], {}, "at least one concept"),
        ([letter_set(), letter_set()], {}, "none twice"),
        ([letter_set()], {"letter": {99: "words"}}, "feature 99 does not exist"),
        ([letter_set()], {"other": {1: "words"}}, "none of: letter"),
        ([letter_set(n=12)], {}, "only"),
    ],
)
def test_what_cannot_be_asked_is_refused(model, tmp_path, sets, brought, message):
    with pytest.raises(ConfigError, match=message):
        find_concepts(model, reader(model), sets, brought=brought, out=tmp_path / "out", settings=SETTINGS)


def test_a_dictionary_of_another_model_is_refused(model, tmp_path):
    other = dataclasses.replace(reader(model), model_identity={"name": "another", "sha256": "0" * 64})
    mine = dataclasses.replace(model, identity={"name": "mine", "sha256": "1" * 64})
    with pytest.raises(ModelError, match="another"):
        find_concepts(mine, other, [letter_set()], out=tmp_path / "out", settings=SETTINGS)
