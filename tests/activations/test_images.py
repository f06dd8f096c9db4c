"""Images: digits read back from the material's form, a fixed order, held out as a store holds out."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from bathyscope import materials
from bathyscope.activations.images import Images, read_digits
from bathyscope.activations.pinned import open_material
from bathyscope.activations.split import held_out
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.materials import Material


def write_digits(folder: Path, monkeypatch: pytest.MonkeyPatch, *, spoilt: object = None) -> None:
    """Two images of each digit d, of brightness d and d + 100, in the form of the package."""
    files = {}
    for file in materials.entry("mnist").files:
        values = [round(light / 255, 3) for light in (int(file.part), int(file.part) + 100) for _ in range(784)]
        files[file.name] = folder / file.name
        files[file.name].write_text(json.dumps({"data": values}))
    if spoilt is not None:
        files["3.json"].write_text(json.dumps(spoilt))
    about = {"version": "1", "licence": "MIT", "origin": "test", "sha256": "0", "tier": 2}
    material = Material(name="mnist", **about, folder=folder, files=files)
    monkeypatch.setattr(materials, "fetch", lambda name: material)


def test_pixels_come_back_to_the_last_bit_with_their_class(tmp_path, monkeypatch):
    write_digits(tmp_path, monkeypatch)
    images = read_digits()
    assert images.pixels_NHW.shape == (20, 28, 28) and images.pixels_NHW.dtype == torch.uint8
    assert torch.equal(images.pixels_NHW[:, 0, 0].long() % 100, images.labels_N)
    assert images.labels_N.bincount().tolist() == [2] * 10
    assert images.materials[0]["licence"] == "MIT"
    assert images.sources[4] == f"mnist #4: {int(images.labels_N[4])}"


def test_the_order_is_drawn_and_the_same_for_the_same_seed(tmp_path, monkeypatch):
    write_digits(tmp_path, monkeypatch)
    assert read_digits(seed=1).sha256 == read_digits(seed=1).sha256 != read_digits(seed=2).sha256
    assert sorted(read_digits(seed=1).labels_N.tolist()) != read_digits(seed=1).labels_N.tolist()


@pytest.mark.parametrize(
    "spoilt", [{"data": [0.5] * 785}, {"data": [1.5] * 784}, {"data": "text"}, [1], {"data": [[0.0]]}]
)
def test_a_file_of_something_else_is_refused(spoilt, tmp_path, monkeypatch):
    write_digits(tmp_path, monkeypatch, spoilt=spoilt)
    with pytest.raises(ArtifactError, match=r"3\.json"):
        read_digits()


def test_held_out_images_are_those_of_a_store():
    images = Images(name="flat", pixels_NHW=torch.zeros(50, 4, 4, dtype=torch.uint8), labels_N=torch.arange(50))
    found = images.is_held_out(share=0.2, seed=3)
    assert int(found.sum()) == 10
    assert np.array_equal(found.numpy(), held_out(np.arange(50), share=0.2, seed=3))


def test_no_image_is_refused():
    with pytest.raises(ConfigError, match="none: 0 images with 0 classes"):
        Images(
            name="none", pixels_NHW=torch.zeros(0, 4, 4, dtype=torch.uint8), labels_N=torch.zeros(0, dtype=torch.long)
        )


def test_digits_are_no_text_and_nothing_is_fetched(monkeypatch):
    monkeypatch.setattr(materials, "fetch", None)
    with pytest.raises(ConfigError, match=r"is a set of images \(`read_digits`\), not a text"):
        open_material("mnist")
