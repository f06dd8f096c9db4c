"""Explanations end to end: features built on words get these words, with a null and the baselines beside them."""

import dataclasses

import numpy as np
import pytest
import torch
from explanations.first_letters import SILENT, WORDS, letter_dictionary, word_store
from tiny import D_MODEL, tiny_model

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.activations.packing import Packing
from bathyscope.activations.store import ActivationStore
from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.explanations.explain import Explanations, explain
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.halves import is_explaining
from bathyscope.explanations.methods import METHODS, OF_TEXT
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.reading import choose_documents
from bathyscope.explanations.vocabulary import VocabularySettings
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features

METHOD = MutualInformation(
    n_words=200,
    words_per_feature=5,
    n_random=100,
    vocabulary=VocabularySettings(min_count=2, fill_from_tokenizer=False),
)
FIRING = FiringInformation(radius=0, n_shifts=19, min_firings=5, min_unit_count=2)


@pytest.fixture(scope="module")
def dictionary() -> Dictionary:
    return letter_dictionary()


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return word_store(tmp_path_factory.mktemp("store") / "activations")


@pytest.fixture(scope="module")
def index(dictionary, store, tmp_path_factory) -> FeatureIndex:
    return index_features(tiny_model(), dictionary, store, out=tmp_path_factory.mktemp("run") / "features")


@pytest.fixture(scope="module")
def found(index, dictionary, store) -> Explanations:
    return explain(index, METHOD, model=tiny_model(), dictionary=dictionary, activations=store, firing=FIRING)


@pytest.fixture(scope="module")
def of_directions(index, dictionary, tmp_path_factory) -> Explanations:
    """Without activations."""
    out = tmp_path_factory.mktemp("directions") / "explanations"
    return explain(index, METHOD, model=tiny_model(), dictionary=dictionary, out=out)


def test_features_built_on_a_word_are_explained_by_it_and_beat_the_null(found):
    for f, word in enumerate(WORDS):
        best = found.words(f, "mutual-information")[0]
        assert (best.word, best.rank, best.n_word_tokens) == (word, 0, len(word) + 1)
        assert best.score > found.null_score
        assert best.beats_null is True
        assert 0 < best.p_word_given_feature < 1
        assert 0 < (best.p_feature_given_word or 0) < 1
    assert found.summary["share_beating_null"] == 1.0


def test_features_are_named_by_the_words_on_which_they_fire(found):
    assert found.default_method == "firing-information"
    for letter, word in {"z": "zebra", "q": "quick", "j": "jumbo", "v": "vixen", "g": "glyph"}.items():
        best = found.words([name[0] for name in WORDS].index(letter))[0]
        assert best.word == word
        assert best.p_word_given_feature == pytest.approx(1.0, abs=0.06)  # a row's end cuts a word in two
        assert best.p_feature_given_word == pytest.approx(1 / len(word), rel=0.1)
        assert best.p_value == pytest.approx(1 / 20)
        assert best.n_word_tokens is None
    assert [word.word for word in found.words(0, "firing-set")] == ["zebra"]
    assert found.words(0, "n-grams")[0].word == "z"


def test_without_activations_only_directions_are_put_into_words(of_directions, found):
    assert of_directions.methods == ["mutual-information", "logit-lens"]
    assert of_directions.default_method == "mutual-information"
    assert of_directions.label(0, n=1) == "zebra"
    assert of_directions.words(0) == found.words(0, "mutual-information")
    with pytest.raises(ConfigError, match="no words by 'contexts'"):
        of_directions.words(0, "contexts")
    with pytest.raises(ConfigError, match="without activations"):
        _ = of_directions.evidence


def test_words_are_read_off_the_explaining_half_alone(found, store, dictionary, index):
    documents = found.explaining_documents
    assert is_explaining(documents, seed=METHOD.seed).all()
    assert len(documents) == is_explaining(np.arange(store.n_documents), seed=METHOD.seed).sum()
    scoring = choose_documents(store, "scoring", seed=found.seed, n_tokens=None)
    assert len(scoring)
    assert np.intersect1d(documents, scoring).size == 0
    seen = {document for row in found.evidence["window_documents"].to_pylist() for document in row}
    assert seen <= set(documents.tolist())


def test_what_was_read_does_not_depend_on_the_scoring_half(dictionary, tmp_path):
    words = []
    for name, other in (("a", "zebra"), ("b", "quick")):
        mine = [f"zebra wharf {word} box" for word in ("shore", "autumn", "meadow", "lantern")] * 10
        sides = is_explaining(np.arange(len(mine)), seed=METHOD.seed)
        texts = Texts([text if side else f"{other} " * 3 for text, side in zip(mine, sides, strict=True)])
        packing = Packing(shuffle=False)
        settings = CollectSettings(held_out=0.3, packing=packing)
        store = collect(tiny_model(), texts, out=tmp_path / name / "activations", hookpoint="embed_tokens",
                        n_tokens=3000, settings=settings)  # fmt: skip
        index = index_features(tiny_model(), dictionary, store, out=tmp_path / name / "features")
        found = explain(index, METHOD, model=tiny_model(), dictionary=dictionary, activations=store, firing=FIRING)
        words.append([[(w.word, w.score) for w in found.words(f, m)] for f in range(SILENT) for m in OF_TEXT])
    assert words[0] == words[1]


def test_a_feature_with_too_few_firings_is_said_to_have_them(index, dictionary, store, found, tmp_path):
    assert found.status(0) == "explained"
    assert found.status(SILENT) == "silent"
    firing = dataclasses.replace(FIRING, min_firings=10_000)
    rare = explain(
        index, METHOD, model=tiny_model(), dictionary=dictionary, activations=store, firing=firing, out=tmp_path / "r"
    )
    assert rare.status(0) == "few firings"
    assert rare.words(0) == []
    assert rare.words(0, "mutual-information")
    assert rare.summary["text"]["statuses"] == {"few firings": SILENT, "silent": 1}


def test_baselines_stand_in_the_same_table(found):
    for f, word in enumerate(WORDS):
        lens, contexts = found.words(f, "logit-lens"), found.words(f, "contexts")
        assert [one.rank for one in lens] == list(range(5))
        assert all(one.beats_null is None for one in (*lens, *contexts))
        assert word[0] in contexts[0].word
        assert contexts[0].p_feature_given_word is None
        assert sum(one.score for one in contexts) == pytest.approx(1.0, abs=0.3)
    assert len(found.words(0, None)) == sum(len(found.words(0, method)) for method in METHODS)


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


def test_the_folder_lies_beside_the_index_and_is_the_same_every_time(found, index, dictionary, store, tmp_path):
    assert found.path == index.path.parent / "explanations"
    given = {"model": tiny_model(), "dictionary": dictionary, "activations": store, "firing": FIRING}
    again = explain(index, METHOD, out=tmp_path / "again", **given)
    assert again.manifest.digest == found.manifest.digest
    different = explain(index, dataclasses.replace(METHOD, seed=1), out=tmp_path / "other", **given)
    assert different.null_score != found.null_score
    assert not np.array_equal(different.explaining_documents, found.explaining_documents)


def test_the_summary_names_the_vocabulary_and_its_hash(found):
    assert found.summary["n_words"] == found.summary["n_words_from_text"] >= 15
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


def test_encoder_directions_and_bayes_are_other_explanations(index, dictionary, of_directions, tmp_path):
    for name, change in {"encoder": {"direction": "encoder"}, "bayes": {"bayes": True}}.items():
        method = dataclasses.replace(METHOD, **change)
        other = explain(index, method, model=tiny_model(), dictionary=dictionary, out=tmp_path / name)
        assert [w.score for w in other.words(0)] != [w.score for w in of_directions.words(0)]


def test_an_affine_lens_is_fitted_saved_and_used(index, dictionary, store, of_directions, tmp_path):
    method = dataclasses.replace(METHOD, lens="affine", lens_tokens=600)
    given = {"model": tiny_model(), "dictionary": dictionary, "firing": FIRING}
    found = explain(index, method, activations=store, out=tmp_path / "lens", **given)
    assert found.summary["lens"]["r2"] > found.summary["lens"]["r2_identity"]
    assert (found.path / "lens.safetensors").exists()
    assert [w.score for w in found.words(0, "mutual-information")] != [w.score for w in of_directions.words(0)]
    with pytest.raises(ConfigError, match="fitted on activations"):
        explain(index, method, out=tmp_path / "none", **given)


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


def test_activations_of_another_hookpoint_or_model_are_refused(index, dictionary, tmp_path):
    other = collect(tiny_model(), Texts(["some text"] * 8), out=tmp_path / "a", hookpoint="layers.1", n_tokens=80)
    with pytest.raises(ConfigError, match="no hookpoint 'embed_tokens'"):
        explain(index, METHOD, model=tiny_model(), dictionary=dictionary, activations=other, out=tmp_path / "x")
    claimed = dataclasses.replace(dictionary, model_identity={"name": "another", "sha256": "0" * 64})
    model = dataclasses.replace(tiny_model(), identity={"name": "tiny", "sha256": "1" * 64})
    with pytest.raises(ModelError, match="belongs to another"):
        explain(index, METHOD, model=model, dictionary=claimed, out=tmp_path / "x")


def test_a_vocabulary_that_the_text_does_not_fill_is_refused(index, dictionary, store, tmp_path):
    wanted = VocabularySettings(min_count=10_000)
    given = {"model": tiny_model(), "dictionary": dictionary, "activations": store}
    with pytest.raises(ConfigError, match="words and signs that may be named"):
        firing = dataclasses.replace(FIRING, min_unit_count=10_000)
        explain(index, METHOD, firing=firing, out=tmp_path / "x", **given)
    with pytest.raises(ConfigError, match="index more text"):
        explain(index, dataclasses.replace(METHOD, vocabulary=wanted), firing=FIRING, out=tmp_path / "y", **given)
