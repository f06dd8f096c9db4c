"""The same index over an image model: patches are tokens, and what is not there is said to be so."""

import numpy as np
import pytest
import torch
from models.tiny_vision import D_MODEL, tiny_image_model
from tiny import tiny_model

from bathyscope.activations.collect_images import ImageCollectSettings, collect_images
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError, ModelError
from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features
from bathyscope.features.search import search_token

IMAGES = drawn_digits(40, seed=2)
HOOKPOINT = "layers.0"
WHOLE = IndexSettings(split="all", window=17, window_before=16, top=6, per_document=1)


@pytest.fixture(scope="module")
def model():
    return tiny_image_model()


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    settings = ImageCollectSettings(dtype="float32")
    out = tmp_path_factory.mktemp("images") / "activations"
    return collect_images(model, IMAGES, out=out, hookpoint=HOOKPOINT, settings=settings)


@pytest.fixture(scope="module")
def dictionary(model) -> Dictionary:
    W_FD = torch.randn(24, D_MODEL, generator=torch.Generator().manual_seed(0))
    W_FD /= W_FD.norm(dim=1, keepdim=True)
    weights = Weights(W_enc=W_FD.T.contiguous(), b_enc=torch.zeros(24), W_dec=W_FD, b_dec=torch.zeros(D_MODEL))
    return Dictionary(
        weights=weights,
        rule=Largest(k=3),
        subtract_b_dec=False,
        hookpoint=HOOKPOINT,
        model_identity=dict(model.identity),
    )


@pytest.fixture(scope="module")
def index(model, store, dictionary, tmp_path_factory) -> FeatureIndex:
    return index_features(model, dictionary, store, out=tmp_path_factory.mktemp("index") / "out", settings=WHOLE)


def test_figures_and_examples_are_those_of_the_patches(index, store, dictionary):
    codes_NF = dictionary.encode(store.read(slice(None))).dense().numpy()
    assert np.array_equal(index.features["n_fires"].to_numpy(), (codes_NF > 0).sum(0))
    feature = int((codes_NF > 0).sum(0).argmax())
    best = index.examples(feature, "top")[0]
    image, patch = divmod(int(codes_NF[:, feature].argmax()), 16)
    assert (best.document, best.token) == (image, image * 17 + 1 + patch)
    assert (best.start, best.stop) == (image * 17, image * 17 + 17), "a window is the whole image"
    np.testing.assert_allclose(best.values[1:], codes_NF[image * 16 : image * 16 + 16, feature])
    assert index.sources[best.document] == IMAGES.sources[best.document]


def test_tokens_read_as_patches_and_the_image_can_be_drawn(index, model):
    words = model.words
    tokens = index.tokens[:17].tolist()
    assert tokens[0] == words.class_token and words.class_token in index.vocabulary.special
    assert index.token_strings(tokens[1:]) == [words.pieces()[token].decode() for token in tokens[1:]]
    assert "".join(index.token_strings(tokens[1:])) == words.drawn(tokens).replace("\n", "")


def test_there_are_neighbours_and_no_logits(index):
    assert index.summary["writes_logits"] is False
    row = index.feature(3)
    assert list(row.top_tokens) == list(row.bottom_logits) == []
    assert len(row.neighbours) == 8
    assert dict(index.word_counts) == {}, "patches are no words"


def test_features_are_found_by_the_patch_that_they_peak_on(index, model):
    table = index.all_examples(columns=["feature", "group", "token"]).to_pylist()
    one = next(row for row in table if row["group"] == "top")
    token = int(index.tokens[one["token"]])
    found = {each.feature: each.score for each in search_token(index, token, n=24)}
    peaks = [
        int(index.tokens[row["token"]]) for row in table if (row["feature"], row["group"]) == (one["feature"], "top")
    ]
    assert found[one["feature"]] == pytest.approx(np.mean([peak == token for peak in peaks]))
    by_string = search_token(index, model.words.pieces()[token].decode(), n=24)
    assert {each.feature for each in by_string} >= set(found)


def test_a_text_is_refused(model, dictionary, tmp_path):
    with pytest.raises(ConfigError, match="tiny-vit-0 reads images, not text: index the store that `collect_images`"):
        index_features(model, dictionary, "README.md", out=tmp_path / "a")


def test_another_model_is_refused(store, dictionary, tmp_path):
    with pytest.raises(ModelError, match="belongs to tiny-vit-0"):
        index_features(tiny_image_model(seed=1), dictionary, store, out=tmp_path / "a")
    with pytest.raises(
        ModelError, match=r"holds activations of images, and tiny-.* does not read images; load tiny-vit-0"
    ):
        index_features(tiny_model(), dictionary, store, out=tmp_path / "b")
