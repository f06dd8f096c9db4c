"""Names, globs, TransformerLens names and widths of hookpoints."""

import pytest
import torch
from tiny import ARCHITECTURES, D_MODEL, N_LAYERS, tiny_model

from bathyscope.errors import ModelError
from bathyscope.models.hookpoints import names, resolve, transformer_lens_name, width
from bathyscope.models.hooks import run

TOKENS_BS = torch.tensor([[72, 101, 108, 108, 111], [33, 44, 55, 66, 77]])
BLOCKS = {name: "h" if name == "gpt2" else "layers" for name in ARCHITECTURES}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_hookpoint_gives_one_activation_of_its_width(architecture):
    model = tiny_model(architecture)
    recorded = run(model, TOKENS_BS, names(model))
    assert list(recorded) == names(model)
    assert {name: tuple(x.shape) for name, x in recorded.items()} == {n: (2, 5, width(model, n)) for n in names(model)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_star_over_blocks_means_the_blocks_alone(architecture):
    model, blocks = tiny_model(architecture), BLOCKS[architecture]
    assert resolve(model, f"{blocks}.*") == [f"{blocks}.{i}" for i in range(N_LAYERS)]
    assert resolve(model, f"{blocks}.*.mlp") == [f"{blocks}.{i}.mlp" for i in range(N_LAYERS)]
    assert resolve(model, f"{blocks}.[1-2]") == [f"{blocks}.1", f"{blocks}.2"]
    assert resolve(model, "**.mlp") == [f"{blocks}.{i}.mlp" for i in range(N_LAYERS)]
    assert resolve(model, "**") == names(model)


def test_modules_that_return_something_else_are_no_hookpoints():
    model = tiny_model("qwen3")
    assert {"rotary_emb", "layers", "layers.0.self_attn.q_norm"} & set(names(model)) == set()
    with pytest.raises(ModelError, match="is a module of tiny-qwen3-0, but its output is not one"):
        resolve(model, "rotary_emb")


def test_an_unknown_hookpoint_names_its_nearest_neighbours(tiny_model):
    with pytest.raises(
        ModelError, match=r"no hookpoint 'layers.1.mpl'; nearest: layers\.1\.mlp, .*layers\.0 … layers\.2"
    ):
        resolve(tiny_model, "layers.1.mpl")
    with pytest.raises(ModelError, match=r"blocks layers\.0 … layers\.2"):
        resolve(tiny_model, "layers.30")
    with pytest.raises(ModelError, match=r"no hookpoint 'blocks\.0\.hook_resid_mid'; nearest: blocks\.0\.hook_resid_p"):
        resolve(tiny_model, "blocks.0.hook_resid_mid")


def test_full_paths_of_the_network_are_understood(tiny_model):
    assert resolve(tiny_model, "model.layers.1") == ["layers.1"]
    assert resolve(tiny_model, "model.layers.*") == ["layers.0", "layers.1", "layers.2"]


def test_widths_of_inner_modules_are_their_own(tiny_model):
    assert width(tiny_model, "layers.1.mlp.up_proj") == 48
    assert width(tiny_model, "layers.1.self_attn.k_proj") == 16
    assert width(tiny_model, "blocks.1.hook_resid_post") == D_MODEL
    with pytest.raises(ModelError, match=r"'layers\.\*' means 3 hookpoints"):
        width(tiny_model, "layers.*")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformer_lens_names_mean_what_they_mean_there(architecture):
    """Input of a block + what attention and MLP add = its output, in fp32 up to rounding."""
    model = tiny_model(architecture)
    for layer in range(N_LAYERS):
        lens = [f"blocks.{layer}.hook_{part}" for part in ("resid_pre", "attn_out", "mlp_out", "resid_post")]
        paths = [resolve(model, name)[0] for name in lens]
        found = run(model, TOKENS_BS, paths)
        before, attention, mlp, after = (found[path] for path in paths)
        torch.testing.assert_close(before + attention + mlp, after, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_transformer_lens_names_and_module_paths_map_both_ways(architecture):
    model, blocks = tiny_model(architecture), BLOCKS[architecture]
    assert resolve(model, "blocks.*.hook_resid_post") == resolve(model, f"{blocks}.*")
    for lens in ("hook_embed", "blocks.2.hook_mlp_out", "blocks.1.hook_attn_out", "blocks.0.hook_resid_post"):
        assert transformer_lens_name(model, resolve(model, lens)[0]) == lens
    assert transformer_lens_name(model, f"{blocks}.0.mlp") in ("blocks.0.hook_mlp_out", None)
