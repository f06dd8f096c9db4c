"""Files of other tools: what is written is read back bit by bit, and bad files are refused by name."""

import gguf
import numpy as np
import pytest
import safetensors.torch
import torch
from tiny import D_MODEL, tiny_model
from vectors.planted import PLACE

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.steering.steer import steer
from bathyscope.vectors.exchange import export_vector, load_vector
from bathyscope.vectors.vector import SteeringVector, Units

TOKENS = torch.tensor([[257, *b"the sea"]])


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def made(model, *places: str) -> SteeringVector:
    generator = torch.Generator().manual_seed(0)
    directions = {place: torch.randn(D_MODEL, generator=generator) for place in places}
    return SteeringVector(
        directions={place: d / d.norm() for place, d in directions.items()},
        units={place: Units(norm=3.7, maximum=9.1, threshold=0.2) for place in places},
        model_identity=model.identity,
        origin={"method": {"kind": "DiffMean"}},
    )


def steered(model, operations) -> torch.Tensor:
    with steer(model, operations):
        return model.network(TOKENS).logits


@pytest.mark.parametrize("places", [(PLACE,), ("layers.1", "layers.2")])
@pytest.mark.parametrize(("kind", "ending"), [("gguf", ".gguf"), ("lm-eval", ".pt")])
def test_an_exported_file_steers_bit_for_bit_as_the_vector_did(model, tmp_path, kind, ending, places):
    vector = made(model, *places)
    file = tmp_path / f"v{ending}"
    export_vector(vector, file, format=kind, strength=-0.3, of="norm")
    again = load_vector(file)
    assert again.hookpoints == places
    expected = steered(model, vector.add_all(-0.3, "norm"))
    assert torch.equal(steered(model, again.add_all(1.0, "length")), expected)
    assert not torch.equal(expected, model.network(TOKENS).logits)
    with pytest.raises(ConfigError, match=r"no unit 'norm'.*length"):
        again.add(1.0, "norm", at=places[0])


def test_a_safetensors_file_keeps_all_that_is_known(model, tmp_path):
    vector = made(model, "layers.1", "layers.0")
    export_vector(vector, tmp_path / "v.safetensors", format="safetensors")
    again = load_vector(tmp_path / "v.safetensors")
    assert again.described() == vector.described() and again.digest == vector.digest
    assert torch.equal(steered(model, again.add_all(0.5)), steered(model, vector.add_all(0.5)))


def test_a_folder_of_an_imported_vector_steers_the_same(model, tmp_path):
    export_vector(made(model, PLACE), tmp_path / "v.gguf", format="gguf", strength=2.0)
    imported = load_vector(tmp_path / "v.gguf")
    imported.save(tmp_path / "folder")
    again = load_vector(tmp_path / "folder")
    assert torch.equal(again.add(1.0, "length").vector_D, imported.add(1.0, "length").vector_D)
    assert again.origin["imported"] == "gguf"
    assert again.model_identity == dict(model.identity)


def test_the_control_vector_has_the_layout_that_other_tools_read(model, tmp_path):
    vector = made(model, "layers.1", "layers.2")
    export_vector(vector, tmp_path / "v.gguf", format="gguf", strength=1.0)
    reader = gguf.GGUFReader(tmp_path / "v.gguf")
    assert reader.fields["general.architecture"].contents() == "controlvector"
    assert reader.fields["controlvector.layer_count"].contents() == 2
    assert reader.fields["controlvector.model_hint"].contents() == "tiny-llama-0"
    tensors = {tensor.name: tensor.data for tensor in reader.tensors}
    assert list(tensors) == ["direction.1", "direction.2"]
    assert tensors["direction.1"].dtype == np.float32
    assert np.array_equal(tensors["direction.1"], vector.add(1.0, at="layers.1").vector_D.numpy())


def test_a_control_vector_of_another_tool_is_read_with_its_lengths(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "r.gguf", "controlvector")
    writer.add_string("controlvector.model_hint", "llama")
    writer.add_uint32("controlvector.layer_count", 1)
    writer.add_tensor("direction.2", np.arange(D_MODEL, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    vector = load_vector(tmp_path / "r.gguf", blocks="h")
    assert vector.hookpoints == ("h.2",)
    assert torch.equal(vector.add(2.0, "length").vector_D, 2 * torch.arange(D_MODEL).float())
    assert vector.origin["fields"]["controlvector.model_hint"] == "llama"


def test_the_lm_eval_file_has_the_layout_that_lm_eval_reads(model, tmp_path):
    vector = made(model, PLACE)
    export_vector(vector, tmp_path / "v.pt", format="lm-eval", strength=1.5, of="maximum")
    content = torch.load(tmp_path / "v.pt", weights_only=True)
    entry = content[PLACE]
    assert set(entry) == {"steering_vector", "steering_coefficient", "action", "bias", "head_index"}
    assert (entry["action"], entry["bias"], entry["head_index"]) == ("add", None, None)
    assert torch.equal(entry["steering_coefficient"] * entry["steering_vector"], vector.add(1.5, "maximum").vector_D)


@pytest.mark.parametrize("place", ["layers.0", "layers.1.mlp", "norm"])
def test_what_a_control_vector_cannot_say_is_refused(model, tmp_path, place):
    with pytest.raises(ConfigError, match=place.replace(".", r"\.")):
        export_vector(made(model, place), tmp_path / "v.gguf", format="gguf", strength=1.0)
    assert not (tmp_path / "v.gguf").exists()


def test_a_strength_is_asked_for_where_it_is_needed_and_refused_where_it_is_not(model, tmp_path):
    with pytest.raises(ConfigError, match="give a strength"):
        export_vector(made(model, PLACE), tmp_path / "v.gguf", format="gguf")
    with pytest.raises(ConfigError, match="take no strength"):
        export_vector(made(model, PLACE), tmp_path / "v.safetensors", format="safetensors", strength=1.0)
    (tmp_path / "there.pt").touch()
    with pytest.raises(ArtifactError, match=r"there\.pt exists"):
        export_vector(made(model, PLACE), tmp_path / "there.pt", format="lm-eval", strength=1.0)


def write(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif path.suffix == ".safetensors":
        safetensors.torch.save_file(content, path)
    else:
        torch.save(content, path)


BAD = {
    "torn.gguf": (b"GGUF" + bytes(40), "damaged"),
    "other.gguf": (b"PK\x03\x04", "expected a small GGUF"),
    "torn.safetensors": (b"\x10", "damaged"),
    "matrix.safetensors": ({"layers.1": torch.ones(2, 3)}, "expected 1 axes"),
    "nan.safetensors": ({"layers.1": torch.full((4,), float("nan"))}, "finite"),
    "whole.safetensors": ({"layers.1": torch.ones(4, dtype=torch.int64)}, "floating-point"),
    "list.pt": ([1, 2], "expected tensors"),
    "code.pt": ({"layers.1": {"steering_vector": torch.nn.Linear(2, 2)}}, "not opened"),
    "clamp.pt": (
        {"layers.1": {"steering_vector": torch.ones(4), "steering_coefficient": 1.0, "action": "clamp", "bias": None}},
        "'clamp'",
    ),
    "lacking.pt": ({"layers.1": {"steering_vector": torch.ones(4)}}, "lacks"),
    "empty.pt": ({}, "at least one hookpoint"),
    "wide.pt": (
        {"layers.1": {"steering_vector": torch.ones(1).expand(10**6), "steering_coefficient": 1.0, "action": "add"}},
        "expected one float vector",
    ),
    "unknown.bin": (b"", "no vector"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_by_name(tmp_path, name):
    content, reason = BAD[name]
    write(tmp_path / name, content)
    with pytest.raises(ArtifactError, match=reason) as caught:
        load_vector(tmp_path / name)
    assert name in str(caught.value)


def test_a_gguf_model_is_no_vector(tmp_path):
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("direction.1", np.ones(4, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with pytest.raises(ArtifactError, match=r"m\.gguf holds a 'llama'"):
        load_vector(tmp_path / "m.gguf")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(ArtifactError, match="nowhere"):
        load_vector(tmp_path / "nowhere")
