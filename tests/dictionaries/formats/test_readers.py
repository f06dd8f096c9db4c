"""Files of other tools give the codes and reconstructions of the tools that wrote them (one line of the list each)."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dictionaries.formats import foreign_files as files
from dictionaries.formats.foreign_files import Foreign, draw

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Positive

DL_CLASSES = (
    "AutoEncoder",
    "AutoEncoderNew",
    "AutoEncoderTopK",
    "BatchTopKSAE",
    "MatryoshkaBatchTopKSAE",
    "JumpReluAutoEncoder",
    "GatedAutoEncoder",
)
GEMMA = "gemma-scope-2b-pt-res/layer_20/width_16k/average_l0_71"

MAKERS: dict[str, Callable[..., Foreign]] = {
    "saelens standard": lambda t, **s: files.saelens(t / "a", **s),
    "saelens standard, no subtraction": lambda t, **s: files.saelens(t / "a", apply_b_dec_to_input=False, **s),
    "saelens topk on pre": lambda t, **s: files.saelens(t / "a", architecture="topk", k=4, **s),
    "saelens topk on pre times length": lambda t, **s: files.saelens(
        t / "a", architecture="topk", k=4, rescale_acts_by_decoder_norm=True, **s
    ),
    "saelens topk, unit rows": lambda t, **s: files.saelens(t / "a", architecture="topk", k=4, unit=True, **s),
    "saelens abstopk": lambda t, **s: files.saelens(t / "a", architecture="abstopk", k=4, **s),
    "saelens jumprelu": lambda t, **s: files.saelens(t / "a", architecture="jumprelu", **s),
    "saelens gated": lambda t, **s: files.saelens_gated(t / "a", **s),
    "saelens matching pursuit": lambda t, **s: files.saelens_pursuit(t / "a", **s),
    "saelens layer_norm": lambda t, **s: files.saelens(t / "a", normalize_activations="layer_norm", **s),
    "saelens constant_norm_rescale": lambda t, **s: files.saelens(
        t / "a", normalize_activations="constant_norm_rescale", **s
    ),
    "saelens transcoder": lambda t, **s: files.saelens_transcoder(t / "a", skip=False, jump=False, **s),
    "saelens jumprelu skip transcoder": lambda t, **s: files.saelens_transcoder(t / "a", skip=True, jump=True, **s),
    **{f"dictionary_learning {c}": lambda t, c=c, **s: files.dictionary_learning(t / "a", c, **s) for c in DL_CLASSES},
    "sparsify": lambda t, **s: files.sparsify(t / "layers.10", **s),
    "sparsify signed": lambda t, **s: files.sparsify(t / "layers.10", signed=True, **s),
    "sparsify skip transcoder": lambda t, **s: files.sparsify(t / "layers.3.mlp", transcode=True, skip=True, **s),
    "gemma scope": lambda t, **s: files.gemma_scope(t / GEMMA, **s),
    "gemma scope embedding": lambda t, **s: files.gemma_scope(
        t / "gemma-scope-2b-pt-res/embedding/width_4k/average_l0_6", **s
    ),
    "gemma scope 2": lambda t, **s: files.gemma_scope_2(t / "resid_post/layer_12_width_16k_l0_medium", **s),
    "gemma scope 2 affine transcoder": lambda t, **s: files.gemma_scope_2(
        t / "transcoder_all/layer_12_width_16k_l0_medium_affine", affine=True, **s
    ),
    "llama scope 2024": lambda t, **s: files.llama_scope_2024(t / "a", **s),
    "llama scope 2024, two factors": lambda t, **s: files.llama_scope_2024(t / "a", norms=(5.0, 3.0), **s),
    "llama scope r1": lambda t, **s: files.llama_scope(t / "a", names="linear", **s),
    "llama scope current": lambda t, **s: files.llama_scope(t / "a", **s),
    "llama scope current, by length": lambda t, **s: files.llama_scope(t / "a", by_length=True, **s),
    "openai gpt2 TopK": lambda t, **s: files.openai_gpt2(t / "resid_post_mlp_v5_32k/autoencoders/8.pt", **s),
    "openai gpt2 ReLU": lambda t, **s: files.openai_gpt2(
        t / "resid_post_mlp_v5_32k/autoencoders/8.pt", activation="ReLU", **s
    ),
    "qwen scope": files.qwen_scope,
}
each_format = pytest.mark.parametrize("name", MAKERS)


def same(foreign: Foreign, d: int) -> None:
    x = 2 * draw(40, d, seed=11)
    found = load_dictionary(foreign.place)
    wanted = foreign.codes(x)
    torch.testing.assert_close(found.encode(x).dense(), wanted, rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(found.reconstruct(x), foreign.reconstruct(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.W_dec.norm(dim=1), torch.ones(found.n_features), rtol=1e-5, atol=1e-5)
    assert 0 < int((wanted != 0).sum()) < wanted.numel(), "the case tells nothing"


@each_format
def test_codes_and_reconstructions_are_those_of_the_tool(name: str, tmp_path: Path) -> None:
    same(MAKERS[name](tmp_path), 6)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "qwen scope"])
def test_orientation_is_right_where_the_shape_does_not_tell(name: str, tmp_path: Path) -> None:
    same(MAKERS[name](tmp_path, d=8, f=8), 8)


@each_format
def test_a_dictionary_read_from_a_file_survives_our_own_folder(name: str, tmp_path: Path) -> None:
    found = load_dictionary(MAKERS[name](tmp_path).place)
    found.save(tmp_path / "ours")
    again = load_dictionary(tmp_path / "ours")
    x = draw(10, 6, seed=11)
    assert again.digest == found.digest and again.source == found.source
    assert torch.equal(again.reconstruct(x), found.reconstruct(x))


@each_format
def test_source_and_sums_of_the_files_are_recorded(name: str, tmp_path: Path) -> None:
    foreign = MAKERS[name](tmp_path)
    source = load_dictionary(str(foreign.place)).source
    assert source is not None and source["format"] and source["files"]
    assert all(len(entry["sha256"]) == 64 for entry in source["files"].values())


def test_rules_and_flags_are_those_of_the_file(tmp_path: Path) -> None:
    wanted = {
        "saelens standard": (Positive(), True),
        "saelens standard, no subtraction": (Positive(), False),
        "saelens abstopk": (LargestAbsolute(k=4), True),
        "dictionary_learning AutoEncoderTopK": (Largest(k=4), True),
        "dictionary_learning BatchTopKSAE": (Above(), True),
        "dictionary_learning JumpReluAutoEncoder": (Above(), False),
        "gemma scope": (Above(), False),
        "sparsify": (Largest(k=4), True),
        "sparsify skip transcoder": (Largest(k=4), False),
        "qwen scope": (Largest(k=4), False),
    }
    for i, (name, expected) in enumerate(wanted.items()):
        found = load_dictionary(MAKERS[name](tmp_path / str(i)).place)
        assert (found.rule, found.subtract_b_dec) == expected, name


def test_top_k_over_rows_of_different_lengths_keeps_what_the_tool_keeps(tmp_path: Path) -> None:
    foreign = MAKERS["saelens topk on pre"](tmp_path)
    found, x = load_dictionary(foreign.place), 2 * draw(40, 6, seed=11)
    assert found.weights.gain is not None
    assert torch.equal(found.encode(x).dense() != 0, foreign.encode(x) != 0)
    by_length = files.saelens(tmp_path / "b", architecture="topk", k=4, rescale_acts_by_decoder_norm=True)
    assert load_dictionary(by_length.place).weights.gain is None
    assert not torch.equal(by_length.encode(x) != 0, foreign.encode(x) != 0), "the lengths do not matter here"


def test_the_threshold_is_strict(tmp_path: Path) -> None:
    foreign = MAKERS["gemma scope 2"](tmp_path)
    found = load_dictionary(foreign.place)
    assert found.threshold is not None
    assert found.keep(found.threshold[None]).l0() == 0
    assert found.keep(torch.nextafter(found.threshold, torch.tensor(9.0))[None]).l0() == found.n_features


def test_thresholds_stay_in_float32_where_the_file_is_half_precision(tmp_path: Path) -> None:
    foreign = files.saelens(tmp_path / "a", architecture="jumprelu")
    from safetensors.torch import load_file, save_file

    file = tmp_path / "a" / "sae_weights.safetensors"
    tensors = {n: t if n == "threshold" else t.to(torch.bfloat16) for n, t in load_file(file).items()}
    save_file(tensors, file)
    found = load_dictionary(foreign.place)
    norm_F = tensors["W_dec"].double().norm(dim=1)
    assert found.threshold is not None and found.threshold.dtype == torch.float32
    assert all(tensor.dtype == torch.float32 for tensor in found.weights.tensors().values())
    torch.testing.assert_close(found.threshold.double(), tensors["threshold"].double() * norm_F, rtol=1e-7, atol=0)


def test_the_second_factor_of_a_llama_transcoder_is_not_left_out(tmp_path: Path) -> None:
    foreign = files.llama_scope_2024(tmp_path / "a", norms=(64.0, 3.39), jump_relu_threshold=0.9)
    found, x = load_dictionary(foreign.place), 20 * draw(40, 6, seed=11)
    torch.testing.assert_close(found.reconstruct(x), foreign.reconstruct(x), rtol=1e-5, atol=1e-5)
    ratio = found.W_dec.norm(dim=1).mean() * 64.0 / 3.39
    assert ratio > 18


def test_the_gate_of_llama_scope_sees_the_length_of_the_decoder_rows(tmp_path: Path) -> None:
    foreign, x = files.llama_scope_2024(tmp_path / "a"), 2 * draw(40, 6, seed=11)
    found, t, factor = load_dictionary(foreign.place), files.raw(6, 20), 6**0.5 / 5.0
    unfolded = factor * x @ t["W_enc"] + t["b_enc"] > 0.9 * factor
    active = found.encode(x).dense() != 0
    assert torch.equal(active, foreign.encode(x) != 0)
    assert not torch.equal(active, unfolded & (factor * x @ t["W_enc"] + t["b_enc"] > 0))


def test_the_skip_of_each_format_has_its_own_orientation(tmp_path: Path) -> None:
    x = draw(10, 6, seed=11)
    for i, name in enumerate(("saelens jumprelu skip transcoder", "sparsify skip transcoder")):
        found = load_dictionary(MAKERS[name](tmp_path / str(i)).place)
        assert found.weights.W_skip is not None and found.output_hookpoint is not None
        torch.testing.assert_close(x @ found.weights.W_skip, x @ draw(6, 6, seed=9).T)
    affine = load_dictionary(MAKERS["gemma scope 2 affine transcoder"](tmp_path).place)
    assert affine.weights.W_skip is not None
    torch.testing.assert_close(x @ affine.weights.W_skip, x @ draw(6, 6, seed=9))


def test_a_transcoder_may_write_another_width(tmp_path: Path) -> None:
    foreign = files.saelens_transcoder(tmp_path / "a", o=9, skip=True, jump=False)
    found, x = load_dictionary(foreign.place), draw(10, 6, seed=11)
    assert (found.d_model, found.d_out) == (6, 9)
    torch.testing.assert_close(found.reconstruct(x), foreign.reconstruct(x), rtol=1e-5, atol=1e-5)


def test_the_digest_sees_normalisation_and_gain(tmp_path: Path) -> None:
    found = load_dictionary(MAKERS["saelens topk on pre"](tmp_path).place)
    weights = dataclasses.replace(found.weights, gain=None)
    others = [dataclasses.replace(found, normalise=how) for how in ("layer-norm", "constant-norm")]
    others.append(dataclasses.replace(found, weights=weights))
    assert len({found.digest, *[other.digest for other in others]}) == 4
    assert dataclasses.replace(found, source=None, hookpoint="layers.1").digest == found.digest


def test_a_zero_token_gives_no_nan_under_any_normalisation(tmp_path: Path) -> None:
    for i, norm in enumerate(("layer_norm", "constant_norm_rescale")):
        found = load_dictionary(files.saelens(tmp_path / str(i), normalize_activations=norm).place)
        assert found.reconstruct(torch.zeros(2, 6)).isfinite().all()
