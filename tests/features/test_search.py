"""Search on features that are letters: a dictionary that reads the tiny model's embeddings."""

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.features.search import search_prompts, search_token
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
