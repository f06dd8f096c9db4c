"""Completeness on a planted text: the words that have a feature are covered, no other, and nulls cover none."""

import dataclasses

import numpy as np
import pytest
import torch
from features.planted import Stream
from tiny import tiny_model

from bathyscope import artifacts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation import completeness as room
from bathyscope.evaluation.completeness import CompletenessSettings, completeness, read_coverage
from bathyscope.evaluation.occurrences import ListedWord

WORDS = [a + b for a in "bcdfgh" for b in ("an", "el", "iro", "ouk")]
"""24 words of a made-up list."""
COVERED = WORDS[:12]
"""Words that have a feature; the others have none."""
SETTINGS = CompletenessSettings(n_text_words=0, min_count=3, n_choosing=3000, n_resamples=50)


def planted_store(path):
    """A text of random listed and unlisted words in bytes; activation i is 1 on every byte of covered word i."""
    rng = np.random.default_rng(0)
    weights = np.geomspace(1, 8, len(WORDS) + 4)
    documents = []
    for _ in range(40):
        chosen = rng.choice(len(WORDS) + 4, size=30, p=weights / weights.sum())
        documents.append([WORDS[i] if i < len(WORDS) else "xy" * (i - len(WORDS) + 1) for i in chosen])
    stream = Stream([sum(len(word) + 1 for word in words) for words in documents], context=4000)
    tokens, values = [], []
    for words in documents:
        tokens.append(257)
        for word in words:
            tokens += list(f" {word}".encode())
            row = torch.zeros(len(word) + 1, 16)
            if word in COVERED:
                row[1:, COVERED.index(word)] = 1
            values.append(row)
    stream.tokens = np.array(tokens, dtype=np.int32)
    return stream.store(path, torch.cat(values))


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    eye = torch.eye(16)
    weights = Weights(
        W_enc=eye, b_enc=torch.zeros(16), W_dec=eye, b_dec=torch.zeros(16), threshold=torch.full((16,), 0.5)
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="layers.1")


@pytest.fixture(scope="module")
def measured(dictionary, tmp_path_factory):
    folder = tmp_path_factory.mktemp("completeness")
    store = planted_store(folder / "store")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(room, "listed_words", lambda: [ListedWord(word, word[0]) for word in WORDS])
        rows = completeness(tiny_model(), dictionary, store, out=folder / "out", settings=SETTINGS)
        again = completeness(tiny_model(), dictionary, store, out=folder / "again", settings=SETTINGS)
    assert rows == again
    return folder, {(row.subject, row.metric): row for row in rows}


def test_the_planted_words_are_covered_by_their_features_and_no_other(measured):
    folder, _ = measured
    found = read_coverage(folder / "out")
    assert {one.word for one in found if one.is_covered} == {one.word for one in found} & set(COVERED)
    assert sum(one.is_covered for one in found) >= 8
    for one in found:
        if one.is_covered:
            assert one.feature == COVERED.index(one.word) and one.recall == one.precision == 1
        assert one.n >= SETTINGS.min_count


def test_shuffled_words_are_never_covered_and_a_random_dictionary_covers_less(measured):
    _, rows = measured
    assert rows["dictionary", "covered"].value > 0.3
    assert rows["shuffled words", "covered"].value == 0
    assert rows["random dictionary", "covered"].value < rows["dictionary", "covered"].value
    assert rows["dictionary", "alive features"].value == 12
    assert rows["dictionary", f"covered · {WORDS[0][0]}"].value == 1


def test_equal_runs_have_equal_digests(measured):
    folder, _ = measured
    assert artifacts.verify(folder / "out").digest == artifacts.verify(folder / "again").digest


def test_too_few_words_and_wrong_bounds_are_refused(dictionary, measured, tmp_path):
    folder, _ = measured
    from bathyscope.activations.store import ActivationStore

    with pytest.raises(ConfigError, match="0 words occur"):
        completeness(
            tiny_model(), dictionary, ActivationStore(folder / "store"), out=tmp_path / "out", settings=SETTINGS
        )
    with pytest.raises(ConfigError, match="no hookpoint"):
        other = dataclasses.replace(dictionary, hookpoint="layers.2")
        completeness(tiny_model(), other, ActivationStore(folder / "store"), out=tmp_path / "out", settings=SETTINGS)
    with pytest.raises(ConfigError, match="at most 1"):
        CompletenessSettings(recall=1.5)
