"""A store of images: a document is an image, a token a patch, rows are the network's own; the same bytes resumed."""

import numpy as np
import pytest
import torch
from models.tiny_vision import tiny_image_model

from bathyscope.activations import collect_images as module
from bathyscope.activations import fill
from bathyscope.activations.collect_images import ImageCollectSettings, collect_images
from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.models.hooks import run

IMAGES = drawn_digits(23, seed=4)
SETTINGS = ImageCollectSettings(dtype="float32", batch_images=5, shard_rows=100)
HOOKPOINTS = ["layers.0", "layers.1.mlp.fc1"]


def test_a_document_is_an_image_and_a_token_a_patch(tmp_path):
    model = tiny_image_model()
    store = collect_images(model, IMAGES, out=tmp_path / "store", hookpoint=HOOKPOINTS, settings=SETTINGS)
    assert (store.n_documents, store.n_tokens, store.n_rows) == (23, 23 * 17, 23 * 16)
    assert np.array_equal(store.tokens, model.words.tokens(IMAGES.pixels_NHW).numpy().ravel())
    assert np.array_equal(store.positions, np.tile(np.arange(17), 23))
    assert np.array_equal(store.documents, np.repeat(np.arange(23), 17))
    assert np.array_equal(store.kept, store.positions > 0), "the class token gets no row"
    assert store.sources == IMAGES.sources
    own = run(model, model.inputs(IMAGES.pixels_NHW), HOOKPOINTS)
    for name in HOOKPOINTS:
        torch.testing.assert_close(store.read(slice(None), name), own[name][:, 1:].flatten(0, 1))


def test_held_out_images_are_those_that_the_images_say(tmp_path):
    store = collect_images(tiny_image_model(), IMAGES, out=tmp_path / "store", hookpoint="layers.0", settings=SETTINGS)
    rows = store.rows("held_out")
    documents = np.unique(store.documents[store.row_tokens()[rows]])
    assert documents.tolist() == IMAGES.is_held_out(share=0.2, seed=0).nonzero()[:, 0].tolist()


def test_an_interrupted_collection_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    model = tiny_image_model()
    whole = collect_images(model, IMAGES, out=tmp_path / "whole", hookpoint="layers.0", settings=SETTINGS)
    monkeypatch.setattr(fill, "CHECKPOINT_SECONDS", 0.0)
    n_forwards = []

    def forward(*arguments):
        n_forwards.append(1)
        if len(n_forwards) == 4:
            raise KeyboardInterrupt
        return run(*arguments)

    monkeypatch.setattr(module, "run", forward)
    with pytest.raises(KeyboardInterrupt):
        collect_images(model, IMAGES, out=tmp_path / "cut", hookpoint="layers.0", settings=SETTINGS)
    resumed = collect_images(model, IMAGES, out=tmp_path / "cut", hookpoint="layers.0", settings=SETTINGS)
    assert resumed.manifest.digest == whole.manifest.digest
    assert len(n_forwards) == 4 + 2, "three batches of five were done"
    collect_images(model, IMAGES, out=tmp_path / "cut", hookpoint="layers.0", settings=SETTINGS)
    assert len(n_forwards) == 6, "a finished store is read"


def test_other_images_another_place_or_size_are_refused(tmp_path):
    model = tiny_image_model()
    collect_images(model, IMAGES, out=tmp_path / "store", hookpoint="layers.0", settings=SETTINGS)
    with pytest.raises(ArtifactError, match="other settings"):
        collect_images(model, drawn_digits(23, seed=5), out=tmp_path / "store", hookpoint="layers.0", settings=SETTINGS)
    with pytest.raises(ModelError, match=r"has no hookpoint 'layers\.7'"):
        collect_images(model, IMAGES, out=tmp_path / "other", hookpoint="layers.7", settings=SETTINGS)
    assert not (tmp_path / "other").exists()
    with pytest.raises(ConfigError, match="held_out"):
        ImageCollectSettings(held_out=1.0)
