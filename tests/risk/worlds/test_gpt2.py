"""Small networks: their sizes, their seeds, and a tokenizer of whole words."""

import pytest
import torch
from risk.worlds.random_folder import random_folder

from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model
from bathyscope.risk.worlds.gpt2 import BOS, Shape, new_network

SIZES = {"n_vocabulary": 9, "n_positions": 4, "n_layers": 2, "d_model": 8, "n_heads": 2, "d_hidden": 12}


def test_a_saved_network_opens_as_a_model_whose_words_are_its_tokens(tmp_path):
    model = load_model(random_folder(tmp_path / "model", n_layers=2))
    assert (model.n_layers, model.d_model, model.n_vocabulary, model.context_length) == (2, 8, 24, 6)
    assert model.tokenizer("3 17 3")["input_ids"] == [BOS, 3, 17, 3]
    assert model.tokenizer.decode([3, 17]) == "3 17"
    assert model.network.lm_head.weight is not model.network.transformer.wte.weight


def test_the_seed_decides_the_weights():
    one, again, other = (new_network(Shape(**SIZES), seed=seed).lm_head.weight for seed in (1, 1, 2))
    assert torch.equal(one, again) and not torch.equal(one, other)


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"d_model": 0}, {"n_layers": 0}])
def test_sizes_that_make_no_network_are_refused(wrong):
    with pytest.raises(ConfigError, match="multiple of n_heads"):
        Shape(**{**SIZES, **wrong})
