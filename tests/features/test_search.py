"""Search on features that are letters: a dictionary that reads the tiny model's embeddings."""

import dataclasses

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.features.search import search_activation, search_prompts, search_token
from bathyscope.models.unembed import unembedding

LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def letters() -> Dictionary:
    """Feature i fires on the i-th letter alone, with value 1."""
    E = unembedding(tiny_model())[[ord(letter) for letter in LETTERS]]
    weights = Weights(
        W_enc=(E / E.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(len(LETTERS)),
        W_dec=torch.nn.functional.normalize(E, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((len(LETTERS),), 0.95),
    )
    return Dictionary(weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens")


@pytest.fixture(scope="module")
def index(letters, tmp_path_factory) -> FeatureIndex:
    texts = Texts([f"{letter} xyz {letter}{letter} {i}" for i in range(6) for letter in LETTERS[:6]])
    out = tmp_path_factory.mktemp("search") / "out"
    return index_features(tiny_model(), letters, texts, out=out, settings=IndexSettings(n_tokens=2000))


def features(found) -> list[int]:
    return [one.feature for one in found]


def test_features_are_found_by_the_token_they_peak_on(index):
    assert features(search_token(index, "c")) == [2]
    assert search_token(index, ord("c"))[0].score == 1.0
    assert features(search_token(index, " C ")) == [2]
    assert search_token(index, "z") == []


def test_a_text_that_is_no_token_is_refused(index):
    with pytest.raises(ConfigError, match="no token"):
        search_token(index, "harbour")


def test_the_features_of_one_prompt_are_found(letters, index):
    assert sorted(features(search_prompts(tiny_model(), letters, index, ["bad"]))) == [0, 1, 3]


def test_and_not_search_returns_exactly_the_planted_features(letters, index):
    found = search_prompts(tiny_model(), letters, index, ["a bc", "cbx d", "bcd"], without=["c or x"])
    assert features(found) == [1]
    assert found[0].score > 0.95


def test_a_feature_that_the_index_never_saw_can_be_found(letters, index):
    assert index.feature(7).n_fires == 0
    assert features(search_prompts(tiny_model(), letters, index, ["h"])) == [7]


def test_a_search_without_prompts_is_refused(letters, index):
    with pytest.raises(ConfigError, match="no prompt"):
        search_prompts(tiny_model(), letters, index, [])


def test_what_fires_on_a_prompt_is_told_token_by_token(letters):
    found = search_activation(tiny_model(), letters, "xbda")
    assert bytes(found.tokens) == b"xbda"
    assert found.n_firing == 3
    assert {one.feature: one.token for one in found.found} == {1: 1, 3: 2, 0: 3}
    for one in found.found:
        assert one.values[one.token] == pytest.approx(1, abs=1e-4) == one.score
        assert (one.values > 0).sum() == 1


def test_values_are_pooled_as_asked(letters, index):
    b_and_c = {1: 2 / 4, 2: 1 / 4}
    mean = search_activation(tiny_model(), letters, "bbcx", index=index, pool="mean")
    assert {one.feature: one.score for one in mean.found} == pytest.approx(b_and_c, abs=1e-3)
    last = search_activation(tiny_model(), letters, "bbc", index=index, pool="last", n=1)
    assert [one.feature for one in last.found] == [2] and last.n_firing == 2


def test_prompts_without_tokens_and_indexes_of_other_dictionaries_are_refused(letters, index):
    with pytest.raises(ConfigError, match="no token"):
        search_activation(tiny_model(), letters, "")
    weights = dataclasses.replace(letters.weights, b_enc=torch.ones(len(LETTERS)))
    other = dataclasses.replace(letters, weights=weights)
    for search in (
        lambda: search_activation(tiny_model(), other, "a", index=index),
        lambda: search_prompts(tiny_model(), other, index, ["a"]),
    ):
        with pytest.raises(ConfigError, match="another dictionary"):
            search()


def test_a_dictionary_of_another_model_or_place_is_refused(letters):
    with pytest.raises(ConfigError, match="width"):
        search_activation(tiny_model(), dataclasses.replace(letters, hookpoint="layers.0.mlp.gate_proj"), "a")
    other = dataclasses.replace(letters, model_identity={"name": "another", "sha256": "0" * 64})
    mine = dataclasses.replace(tiny_model(), identity={"name": "mine", "sha256": "1" * 64})
    with pytest.raises(ModelError, match="another"):
        search_activation(mine, other, "a")
