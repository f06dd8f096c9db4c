"""What must not be read, or not be read silently: traps of the formats, each with its one-line refusal."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dictionaries.formats import foreign_files as files
from dictionaries.formats.foreign_files import draw, refused
from safetensors.torch import load_file, save_file

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.rules import Above, Largest
from bathyscope.errors import ArtifactError, ConfigError


def change(file: Path, **changes: Any) -> None:
    data = json.loads(file.read_text())
    file.write_text(json.dumps({**data, **changes}))


# -- dictionary_learning ---------------------------------------------------------------------------


@pytest.mark.parametrize("dict_class", ["BatchTopKSAE", "MatryoshkaBatchTopKSAE"])
def test_a_threshold_that_was_never_calibrated_is_refused(dict_class: str, tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", dict_class, threshold=-1.0)
    refused(tmp_path / "a", "threshold is -1: it was never calibrated")


def test_top_k_infers_by_k_although_a_threshold_is_stored(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "AutoEncoderTopK", threshold=-1.0)
    assert load_dictionary(tmp_path / "a").rule == Largest(k=4)


def test_a_backup_under_the_name_of_the_weights_is_recognised(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "BatchTopKSAE")
    state = torch.load(tmp_path / "a" / "ae.pt", weights_only=True)
    torch.save({"step": 500, "ae": state, "optimizer": {"state": {}}}, tmp_path / "a" / "ae.pt")
    refused(tmp_path / "a", "is a backup from the middle of a run")


def test_a_missing_buffer_and_empty_names_are_no_fault(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "JumpReluAutoEncoder")
    source = load_dictionary(tmp_path / "a").source
    assert source is not None and "context_size" not in source and "model_name" not in source


def test_without_its_config_the_class_is_inferred_where_tensors_tell_it(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "GatedAutoEncoder", config=False)
    found = load_dictionary(tmp_path / "a")
    assert isinstance(found.rule, Above) and found.source is not None
    assert found.source["inferred"] == ["dict_class from the names of the tensors"]
    files.dictionary_learning(tmp_path / "b", "BatchTopKSAE", config=False)
    refused(tmp_path / "b", "top-k and batch top-k hold the same tensors")


def test_a_checkpoint_of_a_run_finds_the_config_above_it(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "AutoEncoderTopK")
    (tmp_path / "a" / "checkpoints").mkdir()
    step = (tmp_path / "a" / "ae.pt").rename(tmp_path / "a" / "checkpoints" / "ae_2000.pt")
    assert load_dictionary(step).rule == Largest(k=4)


def test_prefix_sizes_of_a_matryoshka_dictionary_are_kept(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "MatryoshkaBatchTopKSAE")
    source = load_dictionary(tmp_path / "a").source
    assert source is not None and source["group_sizes"] == [10, 10]


def test_another_k_in_the_config_than_in_the_tensors_is_refused(tmp_path: Path) -> None:
    files.dictionary_learning(tmp_path / "a", "AutoEncoderTopK")
    change(tmp_path / "a" / "config.json", trainer={"dict_class": "AutoEncoderTopK", "k": 64})
    with pytest.raises(ArtifactError, match=r"k is 4, config.json says 64"):
        load_dictionary(tmp_path / "a")


# -- SAELens ---------------------------------------------------------------------------------------


def test_an_older_flat_config_is_understood(tmp_path: Path) -> None:
    foreign = files.saelens(tmp_path / "a", architecture="topk", k=4)
    old = {"d_in": 6, "d_sae": 20, "hook_point": "blocks.2.hook_resid_pre", "activation_fn_str": "topk"}
    old |= {"activation_fn_kwargs": {"k": 4}, "normalize_activations": False, "model_name": "gpt2-small"}
    (tmp_path / "a" / "cfg.json").write_text(json.dumps(old))
    file, x = tmp_path / "a" / "sae_weights.safetensors", draw(20, 6, seed=11)
    save_file({**load_file(file), "scaling_factor": torch.ones(20)}, file)
    found = load_dictionary(tmp_path / "a")
    assert found.rule == Largest(k=4) and found.subtract_b_dec and found.source is not None
    assert (found.source["hook_name"], found.source["model_name"]) == ("blocks.2.hook_resid_pre", "gpt2-small")
    torch.testing.assert_close(found.reconstruct(x), foreign.reconstruct(x), rtol=1e-5, atol=1e-5)


def test_a_scaling_factor_other_than_one_counts(tmp_path: Path) -> None:
    foreign, file = files.saelens(tmp_path / "a"), tmp_path / "a" / "sae_weights.safetensors"
    factor, t, x = 0.5 + draw(20, seed=12).abs(), load_file(file), draw(20, 6, seed=11)
    save_file({**t, "scaling_factor": factor}, file)
    wanted = (foreign.encode(x) * factor) @ t["W_dec"] + t["b_dec"]
    torch.testing.assert_close(load_dictionary(tmp_path / "a").reconstruct(x), wanted, rtol=1e-5, atol=1e-5)


def test_a_log_threshold_is_exponentiated(tmp_path: Path) -> None:
    foreign, file = files.saelens(tmp_path / "a", architecture="jumprelu"), tmp_path / "a" / "sae_weights.safetensors"
    tensors = load_file(file)
    tensors["log_threshold"] = tensors.pop("threshold").log()
    save_file(tensors, file)
    x = draw(20, 6, seed=11)
    torch.testing.assert_close(load_dictionary(tmp_path / "a").encode(x).dense(), foreign.codes(x))


@pytest.mark.parametrize("by_length", [False, True])
def test_a_batch_top_k_checkpoint_is_read_with_its_scalar_threshold(by_length: bool, tmp_path: Path) -> None:
    folder, scale = tmp_path / "a", 0.7
    files.saelens(folder, architecture="batchtopk", k=4, rescale_acts_by_decoder_norm=by_length)
    change(folder / "cfg.json", normalize_activations="expected_average_only_in")
    t = load_file(folder / "sae_weights.safetensors")
    save_file({**t, "topk_threshold": torch.tensor(0.6, dtype=torch.float64)}, folder / "sae_weights.safetensors")
    refused(folder, "its factor √d / mean‖x‖ is not in the folder")
    files.write_json(folder / "activation_scaler.json", {"scaling_factor": scale})
    x = draw(40, 6, seed=11)
    pre = (scale * x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
    kept = pre.relu() * ((pre * t["W_dec"].norm(dim=1) if by_length else pre) > 0.6)
    found = load_dictionary(folder)
    torch.testing.assert_close(found.reconstruct(x), (kept @ t["W_dec"] + t["b_dec"]) / scale, rtol=1e-5, atol=1e-5)
    assert torch.equal(found.encode(x).dense() != 0, kept != 0)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"architecture": "temporal"}, "architecture 'temporal' cannot be expressed here"),
        ({"normalize_activations": "covariance_whitening"}, "normalised by 'covariance_whitening'"),
        ({"d_in": "6"}, "d_in is '6', expected a positive number"),
        ({"d_sae": 21}, r"W_dec has shape \(20, 6\), expected \(21, 6\)"),
        ({"architecture": "topk"}, "k is None, expected 1 to 20"),
        ({"architecture": "jumprelu"}, "the threshold is missing"),
    ],
)
def test_what_saelens_folders_cannot_mean_here_is_refused_by_name(
    changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    files.saelens(tmp_path / "a")
    change(tmp_path / "a" / "cfg.json", **changes)
    refused(tmp_path / "a", why)


def test_stated_l0_is_taken_from_the_metadata_or_the_frequencies(tmp_path: Path) -> None:
    files.saelens(tmp_path / "a")
    files.write_safetensors(tmp_path / "a" / "sparsity.safetensors", {"sparsity": torch.full((20,), -1.0)})
    source = load_dictionary(tmp_path / "a").source
    assert source is not None and source["expected"]["l0"] == pytest.approx(2.0)
    change(tmp_path / "a" / "cfg.json", metadata={"l0": 61.5})
    source = load_dictionary(tmp_path / "a").source
    assert source is not None and source["expected"] == {"l0": 61.5}


# -- sparsify, Gemma Scope, Llama Scope, OpenAI, Qwen ----------------------------------------------


def test_the_folder_of_a_sparsify_dictionary_is_its_hookpoint(tmp_path: Path) -> None:
    files.sparsify(tmp_path / "run" / "layers.20.mlp" / "seed3", num_latents=20)
    files.write_json(tmp_path / "run" / "layers.20.mlp" / "config.json", {"model": "EleutherAI/pythia-70m"})
    found = load_dictionary(tmp_path / "run" / "layers.20.mlp" / "seed3")
    assert found.hookpoint == "layers.20.mlp" and found.source is not None
    assert found.source["inferred"] == ["hookpoint from the name of the folder"]
    files.sparsify(tmp_path / "something")
    assert load_dictionary(tmp_path / "something").hookpoint is None


def test_sparsify_sizes_and_rules_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    files.sparsify(tmp_path / "a", num_latents=0, expansion_factor=3)
    refused(tmp_path / "a", "speaks of another size")
    files.sparsify(tmp_path / "b", activation="groupmax")
    refused(tmp_path / "b", "activation 'groupmax' cannot be expressed here")


@pytest.mark.parametrize("flag", [True, False])
def test_a_sparsify_decoder_is_not_turned_and_normalize_decoder_says_nothing_of_subtraction(
    flag: bool, tmp_path: Path
) -> None:
    """SAELens' converter transposes `W_dec [F, D]` and subtracts unless `normalize_decoder` is set: both are wrong."""
    foreign, x = files.sparsify(tmp_path / "layers.3", d=8, f=8, normalize_decoder=flag), draw(20, 8, seed=11)
    found, t = load_dictionary(foreign.place), files.raw(8, 8)
    assert found.subtract_b_dec and found.weights.gain is not None
    torch.testing.assert_close(found.W_dec * found.weights.gain[:, None], t["W_dec"])
    turned = foreign.encode(x) @ t["W_dec"].T + t["b_dec"]
    assert float((found.reconstruct(x) - foreign.reconstruct(x)).abs().max()) < 1e-5
    assert float((found.reconstruct(x) - turned).abs().max()) > 1


def test_gemma_scope_facts_come_from_the_path_and_say_so(tmp_path: Path) -> None:
    folder = tmp_path / "models--google--gemma-scope-9b-it-mlp" / "layer_20" / "width_16k" / "average_l0_71"
    files.gemma_scope(folder)
    found = load_dictionary(folder)
    assert found.hookpoint == "layers.20.post_feedforward_layernorm" and found.source is not None
    assert found.source["model_name"] == "google/gemma-2-9b-it" and found.source["expected"] == {"l0": 71.0}
    assert found.source["hook_name"] == "blocks.20.hook_mlp_out"
    assert "model_name and hook_name from the path" in found.source["inferred"]


def test_flattened_heads_of_attention_dictionaries_are_recorded(tmp_path: Path) -> None:
    files.gemma_scope(tmp_path / "gemma-scope-2b-pt-att" / "layer_3" / "width_16k" / "average_l0_50")
    found = load_dictionary(tmp_path / "gemma-scope-2b-pt-att" / "layer_3" / "width_16k" / "average_l0_50")
    assert found.hookpoint is None and found.source is not None
    assert (found.source["hook_name"], found.source["reshape_activations"]) == ("blocks.3.attn.hook_z", "hook_z")


def test_gemma_scope_2_names_are_repaired(tmp_path: Path) -> None:
    where = {"hf_hook_point_in": "model.layers.12.output", "model_name": "gemma-v3-270m-pt"}
    files.gemma_scope_2(tmp_path / "a", **where)
    found = load_dictionary(tmp_path / "a")
    assert found.hookpoint == "layers.12" and found.source is not None
    assert found.source["model_name"] == "google/gemma-3-270m"
    folder = tmp_path / "gemma-scope-2-1b-it" / "transcoder" / "layer_5_width_16k_l0_small"
    files.gemma_scope_2(folder)
    found = load_dictionary(folder)
    assert found.source is not None and found.source["model_name"] == "google/gemma-3-1b-it"
    assert found.hookpoint == "layers.5.pre_feedforward_layernorm"
    assert found.output_hookpoint == "layers.5.post_feedforward_layernorm"


def test_a_cross_layer_transcoder_is_refused_by_name(tmp_path: Path) -> None:
    files.write_safetensors(tmp_path / "clt" / "params_layer_3.safetensors", {"w_dec": torch.zeros(4, 3, 2)})
    refused(tmp_path / "clt", "holds a cross-layer transcoder")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sae_type": "lorsa"}, "sae_type 'lorsa' cannot be expressed here"),
        ({"use_glu_encoder": True}, "use_glu_encoder is set"),
        ({"norm_activation": "batch-wise"}, "normalised 'batch-wise'"),
        ({"hook_point_in": "x", "hook_point_out": "x"}, "the mean length .* is None"),
        ({"expansion_factor": 2}, "speaks of 12 features over 6, the weights have 20"),
    ],
)
def test_what_llama_scope_folders_cannot_mean_here_is_refused_by_name(
    changes: dict[str, Any], why: str, tmp_path: Path
) -> None:
    files.llama_scope(tmp_path / "a")
    change(tmp_path / "a" / "config.json", **changes)
    refused(tmp_path / "a", why)


def test_a_gpt2_dictionary_without_its_activation_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt"
    files.openai_gpt2(file, activation=None)
    refused(file, "the wrong rule")


def test_a_gpt2_dictionary_says_where_it_belongs(tmp_path: Path) -> None:
    file = tmp_path / "resid_delta_mlp_v5_128k" / "autoencoders" / "3.pt"
    files.openai_gpt2(file)
    found = load_dictionary(file)
    assert (found.hookpoint, found.normalise) == ("h.3.mlp", "layer-norm") and found.source is not None
    assert found.source["hook_name"] == "blocks.3.hook_mlp_out"


def test_decoding_needs_the_tokens_where_each_is_normalised(tmp_path: Path) -> None:
    foreign = files.openai_gpt2(tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt")
    found, x = load_dictionary(foreign.place), draw(5, 6, seed=11)
    with pytest.raises(ConfigError, match=r"normalises each token \(layer-norm\)"):
        found.decode(found.encode(x))
    torch.testing.assert_close(found.decode(found.encode(x), x), foreign.reconstruct(x), rtol=1e-5, atol=1e-5)


def test_codes_of_normalised_tokens_do_not_steer(tmp_path: Path) -> None:
    from bathyscope.steering.operations.amplify import Amplify

    files.openai_gpt2(tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt")
    found = load_dictionary(tmp_path / "resid_post_mlp_v5_32k" / "autoencoders" / "8.pt")
    with pytest.raises(ConfigError, match="its codes are not lengths in the model's activations"):
        Amplify(found, features=[0], alpha=1.0)


def test_k_of_a_qwen_dictionary_comes_from_the_repository_or_not_at_all(tmp_path: Path) -> None:
    place = files.qwen_scope(tmp_path, k=50).place
    found = load_dictionary(place)
    assert found.rule == Largest(k=50) and found.hookpoint == "layers.7" and found.source is not None
    assert found.source["model_name"] == "Qwen/Qwen3-1.7B-Base" and found.source["expected"] == {"l0": 50.0}
    (tmp_path / "elsewhere").mkdir()
    refused(place.rename(tmp_path / "elsewhere" / "layer7.sae.pt"), "k is not in the file")
