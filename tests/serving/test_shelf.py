"""Dictionaries and vectors are opened once, and what does not fit the model never gets onto the shelf."""

import pytest
import torch
from safetensors.torch import save_file
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model

from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.serving.shelf import Vector, fill_shelf, open_shelf
from bathyscope.vectors.vector import SteeringVector, Units

PLACE = {"hookpoint": "layers.1"}


@pytest.fixture
def model():
    return tiny_model()


def test_folders_and_files_are_called_by_their_names(model, tmp_path):
    random_dictionary(model).save(tmp_path / "mine")
    save_file({"up": torch.ones(D_MODEL), "down": -torch.ones(D_MODEL)}, tmp_path / "v.safetensors", metadata=PLACE)
    shelf = open_shelf(model, dictionaries=[str(tmp_path / "mine")], vectors=[tmp_path / "v.safetensors"])
    assert set(shelf.dictionaries) == {"mine"}
    assert set(shelf.vectors) == {"up", "down"}
    assert shelf.vectors["up"].hookpoint == "layers.1"
    assert set(shelf.norms) == {"layers.1"}


def test_learnt_vectors_are_called_as_their_folder_is(model, tmp_path):
    directions = {"layers.1": torch.eye(D_MODEL)[0], "layers.0": torch.eye(D_MODEL)[1]}
    for name, places in {"sea": ["layers.1"], "both": ["layers.1", "layers.0"]}.items():
        vector = SteeringVector(
            directions={at: directions[at] for at in places},
            units=dict.fromkeys(places, Units(norm=2.0)),
            model_identity=model.identity,
        )
        vector.save(tmp_path / name)
    shelf = open_shelf(model, vectors=[tmp_path / "sea", tmp_path / "both"])
    assert {name: vector.hookpoint for name, vector in shelf.vectors.items()} == {
        "sea": "layers.1",
        "both@layers.1": "layers.1",
        "both@layers.0": "layers.0",
    }
    torch.testing.assert_close(shelf.vectors["sea"].direction_D, torch.eye(D_MODEL)[0])


def test_a_vector_learnt_from_another_model_is_refused_by_name(model, tmp_path):
    vector = SteeringVector(
        directions={"layers.1": torch.eye(D_MODEL)[0]},
        units={"layers.1": Units(norm=2.0)},
        model_identity=tiny_model(seed=1).identity,
    )
    vector.save(tmp_path / "sea")
    with pytest.raises(ModelError, match=r"clause 'sea' comes from tiny-llama-1"):
        open_shelf(model, vectors=[tmp_path / "sea"])
    with pytest.raises(ArtifactError, match="does not exist: expected a bathyscope vector folder"):
        open_shelf(model, vectors=[tmp_path / "none"])


@pytest.mark.parametrize(
    ("tensor", "metadata", "message"),
    [
        (torch.ones(D_MODEL), None, "metadata entry 'hookpoint'"),
        (torch.ones(2, D_MODEL), PLACE, "one direction"),
        (torch.ones(D_MODEL, dtype=torch.int64), PLACE, "one direction"),
    ],
)
def test_a_file_without_vectors_is_refused(model, tmp_path, tensor, metadata, message):
    file = tmp_path / "v.safetensors"
    save_file({"up": tensor}, file, metadata=metadata)
    with pytest.raises(ArtifactError, match=message):
        open_shelf(model, vectors=[file])
    file.write_bytes(b"nothing")
    with pytest.raises(ArtifactError, match="cannot be read"):
        open_shelf(model, vectors=[file])


@pytest.mark.parametrize(
    ("direction_D", "hookpoint", "error"),
    [
        (torch.ones(D_MODEL + 1), "layers.1", ConfigError),
        (torch.full((D_MODEL,), torch.nan), "layers.1", ConfigError),
        (torch.zeros(D_MODEL), "layers.1", ConfigError),
        (torch.ones(D_MODEL), "layers.99", ModelError),
    ],
)
def test_a_vector_that_does_not_fit_is_refused(model, direction_D, hookpoint, error):
    with pytest.raises(error, match="'up'"):
        fill_shelf(model, vectors=[("up", Vector(direction_D=direction_D, hookpoint=hookpoint))])


def test_a_dictionary_of_another_model_and_two_of_one_name_are_refused(model):
    with pytest.raises(ModelError, match="tiny-llama-1"):
        fill_shelf(model, dictionaries=[("dic", random_dictionary(tiny_model(seed=1)))])
    with pytest.raises(ConfigError, match="two dictionaries are named 'dic'"):
        fill_shelf(model, dictionaries=[("dic", random_dictionary(model))] * 2)
