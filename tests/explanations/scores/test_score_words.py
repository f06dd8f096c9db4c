"""Scores of words end to end: right words predict firing on unseen documents, words of another feature do not."""

import dataclasses
import json

import pyarrow.parquet as pq
import pytest
from explanations.first_letters import SILENT, letter_dictionary, word_store
from tiny import tiny_model

from bathyscope.activations.store import ActivationStore
from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score
from bathyscope.explanations.explain import Explanations, explain
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.scores.half import WordScoreSettings
from bathyscope.explanations.scores.score_words import (
    AUC,
    BY_FEATURE,
    DELTA,
    PURITY,
    REPORTING,
    SHUFFLED,
    score_words,
)
from bathyscope.features.index import index_features

SETTINGS = WordScoreSettings(n_words=1, min_windows=3, n_resamples=50)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return word_store(tmp_path_factory.mktemp("store") / "activations")


@pytest.fixture(scope="module")
def explanations(store, tmp_path_factory) -> Explanations:
    run, dictionary, model = tmp_path_factory.mktemp("run"), letter_dictionary(), tiny_model()
    index = index_features(model, dictionary, store, out=run / "features")
    method, firing = MutualInformation(n_random=20), FiringInformation(radius=0, min_unit_count=2, n_shifts=3)
    return explain(index, method, model=model, dictionary=dictionary, activations=store, firing=firing)


def scored(explanations, store, out, settings=SETTINGS) -> list[Score]:
    given = {"model": tiny_model(), "dictionary": letter_dictionary(), "activations": store}
    return score_words(explanations, out=out, settings=settings, **given)


@pytest.fixture(scope="module")
def rows(explanations, store, tmp_path_factory) -> dict[tuple[str, str, str], Score]:
    out = tmp_path_factory.mktemp("scores") / "s"
    return {(row.subject, row.metric, row.split): row for row in scored(explanations, store, out)}


def test_right_words_predict_firing_and_words_of_another_feature_do_not(rows):
    right, wrong = rows["firing-information", AUC, REPORTING], rows[SHUFFLED, AUC, REPORTING]
    assert right.value > 0.85
    assert wrong.value < 0.65
    assert right.low <= right.value <= right.high
    gain = rows[SHUFFLED, f"{AUC}, firing-information minus this", REPORTING]
    assert gain.value == pytest.approx(right.value - wrong.value)
    assert gain.low > 0


def test_purity_and_examples_stand_beside_those_of_another_feature(rows):
    assert rows["top token", PURITY, REPORTING].value == pytest.approx(1.0)
    assert rows["top token of another feature", PURITY, REPORTING].value == pytest.approx(0.0)
    own, other = rows["examples", DELTA, REPORTING], rows["examples of another feature", DELTA, REPORTING]
    assert own.value > other.value


def test_a_feature_that_is_not_scored_is_said_not_to_be(explanations, store, tmp_path):
    scored(explanations, store, tmp_path / "few", dataclasses.replace(SETTINGS, n_features=5))
    table = pq.read_table(tmp_path / "few" / BY_FEATURE).to_pylist()
    status = {row["feature"]: row["status"] for row in table}
    assert status[SILENT] == "silent"
    assert sorted(status.values()).count("scored") == 5
    assert set(status.values()) == {"scored", "not drawn", "silent"}
    assert all(row["auc"] is None for row in table if row["status"] != "scored")


def test_the_same_scores_every_time(explanations, store, tmp_path):
    scored(explanations, store, tmp_path / "a")
    scored(explanations, store, tmp_path / "b")
    digests = [json.loads((tmp_path / name / "manifest.json").read_text())["digest"] for name in "ab"]
    assert digests[0] == digests[1]


def test_documents_that_were_explained_from_are_refused(explanations, store, tmp_path):
    leaky = Explanations(explanations.path)
    changed = dataclasses.replace(leaky.manifest, seed=leaky.seed + 1)  # other halves than the words were read by
    leaky.manifest = changed
    with pytest.raises(ConfigError, match="cannot be scored on"):
        scored(leaky, store, tmp_path / "x")


def test_a_text_on_which_too_few_features_fire_is_refused(explanations, store, tmp_path):
    with pytest.raises(ConfigError, match="too few to score"):
        scored(explanations, store, tmp_path / "x", dataclasses.replace(SETTINGS, min_windows=1000))
