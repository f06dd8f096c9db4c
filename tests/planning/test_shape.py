"""Sizes of models: parameter counts that are public, configs of transformers, and what is refused."""

import dataclasses
import json

import pytest
from tiny import ARCHITECTURES, tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.planning.shape import ModelShape, read_shape, shape_of

PUBLIC = {
    "smollm2": 134.5e6,
    "openai-community/gpt2": 124.4e6,
    "EleutherAI/pythia-70m": 70.4e6,
    "EleutherAI/pythia-6.9b": 6.86e9,
    "meta-llama/Llama-3.2-1B": 1.236e9,
    "meta-llama/Llama-3.1-8B": 8.03e9,
    "meta-llama/Llama-3.1-70B": 70.55e9,
    "mistralai/Mistral-7B-v0.1": 7.24e9,
    "google/gemma-2-2b": 2.614e9,
    "google/gemma-2-9b": 9.24e9,
    "google/gemma-3-1b-pt": 1.0e9,
    "Qwen/Qwen2.5-7B": 7.62e9,
    "Qwen/Qwen3-0.6B": 0.596e9,
    "Qwen/Qwen3-8B": 8.19e9,
}
SMALL = ModelShape(name="small", d_model=8, n_layers=3, n_heads=2, n_key_heads=1, d_head=4, d_mlp=10, n_vocabulary=50)


@pytest.mark.parametrize(("name", "n_parameters"), PUBLIC.items())
def test_parameters_of_public_models_are_those_of_their_cards(name, n_parameters):
    assert shape_of(name).n_parameters == pytest.approx(n_parameters, rel=0.01)


def test_weights_and_flops_by_hand():
    attention, mlp = 2 * 8 * 8 + 2 * 8 * 4, 3 * 8 * 10
    assert SMALL.layer_parameters == attention + mlp == 432
    assert SMALL.n_parameters == 3 * 432 + 2 * 50 * 8
    assert SMALL.token_flops(2, context=16) == 2 * (2 * 432 + 4 * 16 * 2 * 4)
    assert SMALL.layer_passes == 40 * 8 + 5 * 10


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_config_of_transformers_gives_the_weights_of_the_network(architecture, tmp_path):
    network = tiny_model(architecture).network
    network.config.save_pretrained(tmp_path)
    shape = shape_of(str(tmp_path))
    matrices = sum(
        weight.numel()
        for name, weight in network.named_parameters()
        if weight.ndim == 2 and "wpe" not in name  # learnt positions are looked up, not multiplied
    )
    assert shape.n_parameters == matrices
    assert shape == dataclasses.replace(shape_of(str(tmp_path / "config.json")), name=shape.name)


@pytest.mark.parametrize(
    ("hookpoint", "depth", "places"),
    [
        ("layers.0", 1, 1),
        ("layers.2", 3, 1),
        ("layers.1.mlp", 2, 1),
        ("blocks.1.hook_resid_post", 2, 1),
        ("norm", 3, 1),
        ("layers.*", 3, 3),
    ],
)
def test_blocks_that_run_until_a_hookpoint_and_rows_that_it_gives(hookpoint, depth, places):
    assert SMALL.depth(hookpoint) == depth
    assert SMALL.n_places(hookpoint) == places


def test_a_block_behind_the_last_is_refused_by_name():
    with pytest.raises(ModelError, match=r"small has 3 blocks, layers\.0 to layers\.2: there is no layers\.3"):
        SMALL.depth("layers.3")


def test_an_unknown_model_is_refused_with_the_nearest_names_and_the_remedy():
    with pytest.raises(ModelError, match=r"'google/gemma-2-2' .*nearest known: google/gemma-2-2b.*config\.json"):
        shape_of("google/gemma-2-2")


@pytest.mark.parametrize(
    ("config", "match"),
    [
        ({"hidden_size": 8}, "lacks num_hidden_layers, num_attention_heads, vocab_size"),
        ({"num_local_experts": 8, "hidden_size": 8}, "mixture of experts .num_local_experts."),
    ],
)
def test_configs_that_say_too_little_are_refused(config, match):
    with pytest.raises(ConfigError, match=match):
        read_shape(config, name="x")


def test_the_text_model_inside_a_larger_config_is_read(tmp_path):
    inner = {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": 9, "model_type": "gpt2"}
    (tmp_path / "config.json").write_text(json.dumps({"text_config": inner, "hidden_size": 999}))
    shape = shape_of(str(tmp_path / "config.json"))
    assert (shape.d_model, shape.d_mlp, shape.d_head, shape.n_key_heads, shape.mlp_matrices) == (8, 32, 4, 2, 2)
