"""Explanations end to end: features built on words get these words, with a null and the baselines beside them."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.explanations.explain import Explanations, explain
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.vocabulary import VocabularySettings, word_vectors
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.models.unembed import unembedding

WORDS = ("zebra", "quick", "jumbo", "wharf", "vixen", "box", "kayak", "glyph")
METHOD = MutualInformation(
    n_words=200,
    words_per_feature=5,
    n_random=100,
    vocabulary=VocabularySettings(min_count=2, fill_from_tokenizer=False),
)
SILENT = len(WORDS)


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    """Feature i writes the i-th word and fires on its first letter (z, q, j, w, v, b, k, g); the last never fires."""
    model = tiny_model()
    letters = unembedding(model)[[ord(word[0]) for word in (*WORDS, "~")]]
    vectors, _ = word_vectors(model, WORDS)
    W_dec = torch.cat([vectors, torch.ones(1, D_MODEL)])
    weights = Weights(
        W_enc=(letters / letters.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(SILENT + 1),
        W_dec=torch.nn.functional.normalize(W_dec, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((SILENT + 1,), 0.95),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens")


@pytest.fixture(scope="module")
def index(dictionary, tmp_path_factory) -> FeatureIndex:
    rng = np.random.default_rng(0)
    others = ["the", "shore", "autumn", "meadow", "painter", "thunder", "lantern"]
    texts = Texts([" ".join(rng.permutation([*WORDS, *others])) for _ in range(30)])
    out = tmp_path_factory.mktemp("run") / "features"
    return index_features(tiny_model(), dictionary, texts, out=out, settings=IndexSettings(n_tokens=3000))


@pytest.fixture(scope="module")
def found(index, dictionary) -> Explanations:
    return explain(index, METHOD, model=tiny_model(), dictionary=dictionary)


def test_features_built_on_a_word_are_explained_by_it_and_beat_the_null(found):
    for f, word in enumerate(WORDS):
        best = found.words(f)[0]
        assert (best.word, best.rank, best.n_word_tokens) == (word, 0, len(word) + 1)
        assert best.score > found.null_score
        assert best.beats_null is True
        assert 0 < best.p_word_given_feature < 1
        assert 0 < (best.p_feature_given_word or 0) < 1
        assert found.label(f, n=1) == word
    assert found.summary["share_beating_null"] == 1.0


def test_baselines_stand_in_the_same_table(found):
    for f, word in enumerate(WORDS):
        lens, contexts = found.words(f, "logit-lens"), found.words(f, "contexts")
        assert [one.rank for one in lens] == list(range(5))
        assert all(one.beats_null is None for one in (*lens, *contexts))
        assert contexts[0].word == word
        assert contexts[0].p_feature_given_word is None
        assert sum(one.score for one in contexts) == pytest.approx(1.0)
    assert len(found.words(0, None)) == 10 + len(found.words(0, "contexts"))


def test_a_feature_that_never_fires_is_not_explained(found, index):
    assert index.feature(SILENT).n_fires == 0
    assert found.words(SILENT, None) == []
    assert found.label(SILENT) == ""
    assert found.summary["n_explained"] == SILENT


def test_random_directions_seldom_beat_the_null(index, dictionary, tmp_path):
    random = dataclasses.replace(
        dictionary,
        weights=dataclasses.replace(
            dictionary.weights, W_dec=torch.randn(SILENT + 1, D_MODEL, generator=torch.Generator().manual_seed(11))
        ),
    )
    store = index_features(
        tiny_model(),
        random,
        Texts([" ".join(WORDS) + " shore autumn meadow painter thunder lantern"] * 5),
        out=tmp_path / "features",
        settings=IndexSettings(n_tokens=500),
    )
    words = explain(store, METHOD, model=tiny_model(), dictionary=random)
    assert words.summary["share_beating_null"] <= 0.5


def test_the_folder_lies_beside_the_index_and_is_the_same_every_time(found, index, dictionary, tmp_path):
    assert found.path == index.path.parent / "explanations"
    again = explain(index, METHOD, model=tiny_model(), dictionary=dictionary, out=tmp_path / "again")
    assert again.manifest.digest == found.manifest.digest
    other = dataclasses.replace(METHOD, seed=1)
    different = explain(index, other, model=tiny_model(), dictionary=dictionary, out=tmp_path / "other")
    assert different.null_score != found.null_score
    assert different.label(0) == found.label(0)


def test_the_summary_names_the_vocabulary_and_its_hash(found):
    assert found.summary["n_words"] == found.summary["n_words_from_text"] == 15
    assert len(found.summary["vocabulary_sha256"]) == 64
    assert set(found.summary["usage"]) == {"mutual-information", "logit-lens"}


def test_rows_are_sorted_by_feature_method_and_rank(found):
    table = found.table
    order = {name: i for i, name in enumerate(found.summary["methods"])}
    rows = list(
        zip(
            table["feature"].to_pylist(),
            map(order.get, table["method"].to_pylist()),
            table["rank"].to_pylist(),
            strict=True,
        )
    )
    assert rows == sorted(rows)


def test_encoder_directions_and_bayes_are_other_explanations(index, dictionary, found, tmp_path):
    for name, change in {"encoder": {"direction": "encoder"}, "bayes": {"bayes": True}}.items():
        method = dataclasses.replace(METHOD, **change)
        other = explain(index, method, model=tiny_model(), dictionary=dictionary, out=tmp_path / name)
        assert [w.score for w in other.words(0)] != [w.score for w in found.words(0)]


def test_another_dictionary_or_a_width_without_way_out_is_refused(index, dictionary, tmp_path):
    with pytest.raises(ConfigError, match="another dictionary"):
        other = dataclasses.replace(dictionary, rule=Largest(k=2))
        explain(index, METHOD, model=tiny_model(), dictionary=other, out=tmp_path / "x")
    narrow = Dictionary(
        weights=Weights(W_enc=torch.eye(4), b_enc=torch.zeros(4), W_dec=torch.eye(4), b_dec=torch.zeros(4)),
        rule=Largest(k=2),
        subtract_b_dec=False,
    )
    fake = FeatureIndex(index.path)
    fake.summary = {**fake.summary, "dictionary": narrow.digest}
    with pytest.raises(ModelError, match="width 4"):
        explain(fake, METHOD, model=tiny_model(), dictionary=narrow, out=tmp_path / "x")
    assert not (tmp_path / "x").exists()
