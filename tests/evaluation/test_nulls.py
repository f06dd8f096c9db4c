"""The random dictionary: same size, same sparsity, fairest scale, and no better than it can be."""

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.collect import collect
from bathyscope.activations.text import Texts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.start import tied_start
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.nulls import random_dictionary, random_dictionary_on, seed_apart


@pytest.fixture
def like() -> Dictionary:
    weights = Weights(
        W_enc=torch.ones(16, 40), b_enc=torch.zeros(40), W_dec=torch.ones(40, 16) / 4, b_dec=torch.zeros(16)
    )
    return Dictionary(weights=weights, rule=Largest(k=5), subtract_b_dec=False, hookpoint="layers.1")


@pytest.fixture
def x_ND():
    return torch.randn(400, 16, generator=torch.Generator().manual_seed(3)) * 3 + 5


def test_it_has_the_size_sparsity_and_unit_rows_of_the_original(like, x_ND):
    null = random_dictionary(like, x_ND, k=5, seed=0)
    codes = null.encode(x_ND)
    assert (null.n_features, null.d_model, null.hookpoint) == (40, 16, "layers.1")
    assert int((codes.values_NK != 0).sum(1).max()) == 5
    torch.testing.assert_close(null.W_dec.norm(dim=1), torch.ones(40))


def test_its_scale_is_the_best_one(like, x_ND):
    null = random_dictionary(like, x_ND, k=5, seed=0)
    offset = null.reconstruct(x_ND) - null.b_dec

    def error(factor):
        return float((x_ND - null.b_dec - factor * offset).square().sum())

    assert error(1.0) < min(error(0.97), error(1.03))


def test_it_explains_something_but_less_than_the_truth_and_depends_on_its_seed(like, x_ND):
    def explained(seed):
        rest = x_ND - random_dictionary(like, x_ND, k=5, seed=seed).reconstruct(x_ND)
        return 1 - float(rest.square().sum() / (x_ND - x_ND.mean(0)).square().sum())

    assert 0.05 < explained(0) < 0.9
    assert explained(0) != explained(1)


def test_k_out_of_range_is_refused(like, x_ND):
    with pytest.raises(ConfigError, match="k is 41, expected 1 to 40"):
        random_dictionary(like, x_ND, k=41, seed=0)


def test_random_directions_are_not_those_that_training_with_the_same_seed_starts_from(like, x_ND):
    start = tied_start(40, 16, norm=1.0, generator=torch.Generator().manual_seed(0))
    null = random_dictionary(like, x_ND, k=5, seed=0)
    assert torch.nn.functional.cosine_similarity(null.W_dec, start.W_dec_FD).abs().mean() < 0.3
    assert seed_apart(0) == seed_apart(0) != seed_apart(1)


def test_on_a_store_it_is_as_sparse_as_the_dictionary_is_there(tmp_path):
    text = Texts([f"Story {i}: the ship left the harbour at {i} o'clock." for i in range(20)])
    store = collect(tiny_model(), text, out=tmp_path / "store", hookpoint="layers.1", n_tokens=500)
    start = tied_start(48, D_MODEL, norm=1.0, generator=torch.Generator().manual_seed(0))
    weights = Weights(W_enc=start.W_enc_FD.T, b_enc=torch.zeros(48), W_dec=start.W_dec_FD, b_dec=torch.zeros(D_MODEL))
    like = Dictionary(weights=weights, rule=Largest(k=3), subtract_b_dec=False, hookpoint="layers.1")
    null = random_dictionary_on(store, like, seed=0)
    assert null.n_features == 48
    assert null.encode(store.read(store.rows("train")).float()).l0() == pytest.approx(3, abs=0.1)
