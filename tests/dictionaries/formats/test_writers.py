"""What is written for other tools computes the same there; what a format cannot express is refused by name."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from dictionaries.formats.foreign_files import draw, raw, top
from safetensors.torch import load_file
from torch import Tensor

from bathyscope.dictionaries.blocks import Block
from bathyscope.dictionaries.dictionary import Dictionary, SavedFormat, load_dictionary
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Positive, Pursuit, Rule
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ArtifactError, ConfigError

D, F = 6, 20
RULES: dict[str, Rule] = {
    "positive": Positive(),
    "largest": Largest(k=4),
    "absolute": LargestAbsolute(k=4),
    "above": Above(),
    "pursuit": Pursuit(k=4),
    "signed pursuit": Pursuit(k=4, is_signed=True),
}


def build(rule: str = "positive", *, subtract: bool = True, gain: bool = False, **changes: Any) -> Dictionary:
    t = raw(D, F)
    weights = fold(Weights(**t), scale=1.0)
    if gain:
        weights = dataclasses.replace(weights, gain=0.5 + draw(F, seed=8).abs())
    if rule.endswith("pursuit"):
        weights = dataclasses.replace(weights, W_enc=weights.W_dec.T.contiguous(), b_enc=torch.zeros(F))
    if rule != "above":
        weights = dataclasses.replace(weights, threshold=None)
    base = Dictionary(weights=weights, rule=RULES[rule], subtract_b_dec=subtract, hookpoint="layers.15")
    return dataclasses.replace(base, **changes)


X_ND = 2 * draw(50, D, seed=11)

EXPRESSIBLE: list[tuple[SavedFormat, str, bool]] = [
    *(("saelens", rule, subtract) for rule in list(RULES)[:4] for subtract in (True, False)),
    ("saelens", "pursuit", True),
    ("sparsify", "largest", True),
    ("sparsify", "largest", False),
    *(
        ("dictionary_learning", rule, subtract)
        for rule in ("positive", "largest", "above")
        for subtract in (True, False)
    ),
]


@pytest.mark.parametrize(("tool", "rule", "subtract"), EXPRESSIBLE)
def test_what_is_written_reads_back_with_the_same_codes(
    tool: SavedFormat, rule: str, subtract: bool, tmp_path: Path
) -> None:
    made = build(rule, subtract=subtract)
    made.save(tmp_path / "layers.15", format=tool)
    found = load_dictionary(tmp_path / "layers.15")
    torch.testing.assert_close(found.encode(X_ND).dense(), made.encode(X_ND).dense(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.reconstruct(X_ND), made.reconstruct(X_ND), rtol=1e-5, atol=1e-6)
    assert type(found.rule) is type(made.rule)


def test_one_dictionary_written_in_four_formats_gives_the_same_codes(tmp_path: Path) -> None:
    made = build("largest")
    formats: tuple[SavedFormat, ...] = ("bathyscope", "saelens", "sparsify", "dictionary_learning")
    for name in formats:
        made.save(tmp_path / name / "layers.15", format=name)
        found = load_dictionary(tmp_path / name / "layers.15")
        assert float((found.encode(X_ND).dense() - made.encode(X_ND).dense()).abs().max()) < 1e-6, name


@pytest.mark.parametrize("tool", ["saelens", "sparsify", "dictionary_learning"])
def test_lengths_that_decided_the_selection_go_back_into_the_decoder(tool: SavedFormat, tmp_path: Path) -> None:
    made = build("largest", gain=True)
    made.save(tmp_path / "layers.15", format=tool)
    found = load_dictionary(tmp_path / "layers.15")
    assert found.weights.gain is not None and made.weights.gain is not None
    torch.testing.assert_close(found.weights.gain, made.weights.gain)
    torch.testing.assert_close(found.reconstruct(X_ND), made.reconstruct(X_ND), rtol=1e-5, atol=1e-6)


def test_sparsify_files_always_subtract_and_make_up_for_it(tmp_path: Path) -> None:
    made = build("largest", subtract=False)
    made.save(tmp_path / "layers.15", format="sparsify")
    t = load_file(tmp_path / "layers.15" / "sae.safetensors")
    pre = ((X_ND - t["b_dec"]) @ t["encoder.weight"].T + t["encoder.bias"]).relu()
    torch.testing.assert_close(top(pre, pre, 4) @ t["W_dec"] + t["b_dec"], made.reconstruct(X_ND), rtol=1e-5, atol=1e-6)
    config = json.loads((tmp_path / "layers.15" / "cfg.json").read_text())
    assert (config["num_latents"], config["k"], config["d_in"], config["normalize_decoder"]) == (F, 4, D, True)


@pytest.mark.parametrize(("norm", "theirs"), [("layer-norm", "layer_norm"), ("constant-norm", "constant_norm_rescale")])
def test_saelens_holds_normalisation_of_tokens(norm: Any, theirs: str, tmp_path: Path) -> None:
    made = build("above", normalise=norm)
    made.save(tmp_path / "a", format="saelens")
    assert json.loads((tmp_path / "a" / "cfg.json").read_text())["normalize_activations"] == theirs
    torch.testing.assert_close(load_dictionary(tmp_path / "a").reconstruct(X_ND), made.reconstruct(X_ND))


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("tool", ["saelens", "sparsify"])
def test_transcoders_are_written_with_their_skip(tool: SavedFormat, skip: bool, tmp_path: Path) -> None:
    made = build("above" if tool == "saelens" else "largest", subtract=False)
    weights = dataclasses.replace(made.weights, W_skip=draw(D, D, seed=9) if skip else None)
    made = dataclasses.replace(made, weights=weights, hookpoint=None, output_hookpoint="layers.3.mlp")
    made.save(tmp_path / "layers.3.mlp", format=tool)
    found = load_dictionary(tmp_path / "layers.3.mlp")
    assert found.output_hookpoint == "layers.3.mlp"
    torch.testing.assert_close(found.reconstruct(X_ND), made.reconstruct(X_ND), rtol=1e-5, atol=1e-6)


def test_names_of_model_and_place_are_written(tmp_path: Path) -> None:
    made = build("above", model_identity={"name": "smollm2", "sha256": "00"})
    made.save(tmp_path / "a", format="saelens")
    metadata = json.loads((tmp_path / "a" / "cfg.json").read_text())["metadata"]
    assert metadata["hook_name"] == "blocks.15.hook_resid_post" and metadata["hf_hook_name"] == "layers.15"
    assert metadata["model_name"] == "smollm2" and metadata["sae_lens_version"] >= "6"
    made.save(tmp_path / "b", format="dictionary_learning")
    trainer = json.loads((tmp_path / "b" / "config.json").read_text())["trainer"]
    assert (trainer["layer"], trainer["lm_name"], trainer["submodule_name"]) == (15, "smollm2", "resid_post_layer_15")
    assert load_dictionary(tmp_path / "a").hookpoint == "layers.15"


@pytest.mark.parametrize(
    ("tool", "rule", "changes"),
    [
        ("sparsify", "positive", {}),
        ("sparsify", "absolute", {}),
        ("sparsify", "largest", {"normalise": "layer-norm"}),
        ("dictionary_learning", "absolute", {}),
        ("dictionary_learning", "pursuit", {}),
        ("dictionary_learning", "above", {"normalise": "constant-norm"}),
        ("dictionary_learning", "above", {"output_hookpoint": "layers.3.mlp", "subtract_b_dec": False}),
        ("saelens", "signed pursuit", {}),
        ("saelens", "largest", {"output_hookpoint": "layers.3.mlp", "subtract_b_dec": False}),
        ("saelens", "above", {"blocks": (Block("a", 3), Block("b", 3))}),
    ],
)
def test_what_a_format_cannot_express_is_refused_by_name_and_nothing_is_written(
    tool: SavedFormat, rule: str, changes: dict[str, Any], tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=rf"the {tool} format cannot express this dictionary \(rule \w+\): "):
        build(rule, **changes).save(tmp_path / "a", format=tool)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(tmp_path: Path) -> None:
    build("above").save(tmp_path / "a", format="saelens")
    with pytest.raises(ArtifactError, match="exists; choose another place"):
        build("above").save(tmp_path / "a", format="saelens")


def test_the_pickle_that_is_written_holds_tensors_alone(tmp_path: Path) -> None:
    build("above").save(tmp_path / "a", format="dictionary_learning")
    state = torch.load(tmp_path / "a" / "ae.pt", weights_only=True)
    assert set(state) == {"W_enc", "b_enc", "W_dec", "b_dec", "threshold"}
    assert all(isinstance(tensor, Tensor) and tensor.is_contiguous() for tensor in state.values())


def test_a_dictionary_to_go_on_with_may_not_normalise_tokens() -> None:
    from bathyscope.dictionaries.adopt import adopted

    for made, why in (
        (build(normalise="layer-norm"), "normalises each token"),
        (build("largest", gain=True), "a gain"),
    ):
        with pytest.raises(ConfigError, match=why):
            adopted(made, shape=(D, F), rule=made.rule, subtract_b_dec=True, scale=1.0)
