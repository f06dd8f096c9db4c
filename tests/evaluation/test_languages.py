"""The card of languages on planted firings: language-free and one-language features are told from chance."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope import artifacts
from bathyscope.activations.pairs.parallel import Verses
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation import languages as room
from bathyscope.evaluation.languages import LanguageSettings, agreement, card, language_card, read_language_features
from bathyscope.models.unembed import unembedding

LANGUAGES = ["en", "pt", "la"]
V, FREE, ALONE, CHANCE = 400, range(10), range(10, 25), range(25, 60)
SETTINGS = LanguageSettings(n_verses=V, n_shuffles=3)


@pytest.fixture(scope="module")
def fires_LVF():
    """Ten features of a verse's meaning, five of each language, 35 that fire by chance, more on longer verses."""
    rng = np.random.default_rng(0)
    fires = np.zeros((3, V, 60), dtype=bool)
    meaning = rng.random((V, len(FREE))) < 0.2
    fires[:, :, FREE] = meaning ^ (rng.random((3, V, len(FREE))) < 0.05)
    for number, feature in enumerate(ALONE):
        fires[number % 3, :, feature] = rng.random(V) < 0.3
    by_length = np.linspace(0.1, 0.7, V)[None, :, None]
    fires[:, :, CHANCE] = rng.random((3, V, len(CHANCE))) < by_length
    return fires


@pytest.fixture(scope="module")
def made(fires_LVF):
    chapters = [f"book.{i}" for i in np.random.default_rng(1).integers(0, 60, V)]
    rows, features = card(LANGUAGES, fires_LVF, chapters, SETTINGS)
    return {(row.subject, row.metric): row for row in rows}, features


def test_planted_features_are_called_what_they_are(made):
    _, features = made
    free = {one.feature for one in features if one.sort == "language-free" and one.holds}
    assert free >= set(FREE) and len(free - set(FREE)) <= 2
    alone = {one.feature: one.language for one in features if one.sort == "one language"}
    assert alone == {feature: LANGUAGES[number % 3] for number, feature in enumerate(ALONE)}


def test_length_alone_makes_no_feature_language_free(fires_LVF, made):
    _, features = made
    by_length = agreement(fires_LVF)[list(CHANCE)]
    assert by_length.mean() > 0.05, "they do agree, through length"
    called = [one for one in features if one.sort == "language-free" and one.feature in CHANCE]
    assert len(called) <= 4, "of 35"


def test_calls_hold_on_the_other_half_more_often_than_by_chance(made):
    rows, _ = made
    for sort in ("language-free", "of en alone"):
        assert rows["dictionary", f"called again · {sort}"].value > 0.7
        assert rows["any feature", f"called again · {sort}"].value < 0.35
    assert rows["dictionary", "of la alone"].value == pytest.approx(5 / 60)


def test_the_same_verse_overlaps_more_than_another_one(made):
    rows, _ = made
    for pair in ("en-pt", "en-la", "pt-la"):
        difference = rows["difference", f"overlap · {pair}"]
        same, other = (rows[s, f"overlap · {pair}"].value for s in ("the same verse", "another verse of like length"))
        assert difference.low > 0
        assert difference.value == pytest.approx(same - other)


def test_verses_without_meaning_do_not_overlap(fires_LVF):
    fires = fires_LVF[:, :, list(CHANCE)]
    rows, _ = card(LANGUAGES, fires, [f"{i}" for i in range(V)], SETTINGS)
    for row in rows:
        if row.subject == "difference":
            assert row.low < 0.01 < row.high + 0.02, row


def test_agreement_is_the_lowest_correlation():
    rng = np.random.default_rng(0)
    fires = rng.random((3, 50, 4)) < 0.5
    fires[:, :, 3] = True
    expected = [min(np.corrcoef(fires[:, :, f])[np.triu_indices(3, 1)]) for f in range(3)]
    assert agreement(fires) == pytest.approx([*expected, 0.0])


@pytest.fixture
def letters() -> Dictionary:
    """Features of letters on the embedding: `a` in both languages, `b` in the first, `c` in the second."""
    E = unembedding(tiny_model())[[ord(letter) for letter in "abc"]]
    weights = Weights(
        W_enc=(E / E.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(3),
        W_dec=torch.nn.functional.normalize(E, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((3,), 0.95),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens")


def test_from_verses_to_the_page(letters, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    has_a = rng.random(60) < 0.5
    texts = {
        "one": tuple(f"{'a' if a else 'x'} b xyz {i}" for i, a in enumerate(has_a)),
        "two": tuple(f"c {'a' if a else 'x'} zyx {i}" for i, a in enumerate(has_a)),
    }
    verses = Verses(keys=tuple(f"B.{i // 4}.{i}" for i in range(60)), texts=texts, record={"name": "made"})
    monkeypatch.setattr(room, "parallel_verses", lambda material, **lengths: verses)
    settings = dataclasses.replace(SETTINGS, n_verses=60, min_rate=0.2, tokens_per_batch=512)
    for name in ("one", "two"):
        language_card(tiny_model(), letters, out=tmp_path / name, settings=settings)
    found = {one.feature: (one.sort, one.language, one.holds) for one in read_language_features(tmp_path / "one")}
    assert found == {
        0: ("language-free", None, True),
        1: ("one language", "one", True),
        2: ("one language", "two", True),
    }
    assert "| one-two |" in (tmp_path / "one" / "card.md").read_text()
    assert artifacts.verify(tmp_path / "one").digest == artifacts.verify(tmp_path / "two").digest
    with pytest.raises(ConfigError, match="400 are asked"):
        language_card(tiny_model(), letters, out=tmp_path / "more", settings=SETTINGS)
    mine = dataclasses.replace(tiny_model(), identity={"name": "mine", "sha256": "1" * 64})
    other = dataclasses.replace(letters, model_identity={"name": "another", "sha256": "0" * 64})
    with pytest.raises(ModelError, match="another"):
        language_card(mine, other, out=tmp_path / "other", settings=settings)
