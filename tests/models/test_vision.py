"""Image models: hookpoints as those of a language model, activations that are the network's own, clear refusals."""

import pytest
import torch
from models.tiny_vision import D_MODEL, N_LAYERS, N_WORDS, PATCH, tiny_image_model, tiny_network

from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.models.hookpoints import names, resolve, width
from bathyscope.models.hooks import replace, run
from bathyscope.models.vision import WORDS, load_image_model
from bathyscope.models.visual_words import VisualWords

IMAGES = drawn_digits(3, seed=1).pixels_NHW


def test_every_hookpoint_gives_class_token_and_patches():
    model = tiny_image_model()
    recorded = run(model, model.inputs(IMAGES), names(model))
    assert {name: tuple(x.shape) for name, x in recorded.items()} == {n: (3, 17, width(model, n)) for n in names(model)}
    assert resolve(model, "layers.*") == [f"layers.{layer}" for layer in range(N_LAYERS)]
    assert width(model, "layers.0.mlp.fc1") == 24 and model.d_model == D_MODEL and model.n_patches == 16


def test_a_block_puts_out_the_hidden_states_of_the_network_itself():
    model = tiny_image_model()
    found = run(model, model.inputs(IMAGES), "layers.0")["layers.0"]
    states = model.network(**model.inputs(IMAGES), output_hidden_states=True).hidden_states
    torch.testing.assert_close(found, states[1])


def test_a_replaced_block_changes_the_answer():
    model = tiny_image_model()
    before = model.network(**model.inputs(IMAGES)).logits
    with replace(model, {"layers.1": lambda x_BSD: -x_BSD}):
        after = model.network(**model.inputs(IMAGES)).logits
    assert not torch.allclose(before, after)


def test_a_folder_is_opened_with_its_words_and_told_from_others(tmp_path):
    for seed in (0, 1):
        folder = tmp_path / f"vit-{seed}"
        tiny_network(seed=seed).save_pretrained(folder)
        tiny_image_model().words.save(folder / WORDS)
    first, second = (load_image_model(tmp_path / f"vit-{seed}") for seed in (0, 1))
    assert first.words.n_words == N_WORDS and first.words.patch_size == PATCH
    assert first.identity["sha256"] != second.identity["sha256"] and first.identity["words"] == second.identity["words"]
    wanted = tiny_network()(**first.inputs(IMAGES)).logits
    torch.testing.assert_close(first.network(**first.inputs(IMAGES)).logits, wanted)


def test_what_is_no_image_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"it lacks config.json, model.safetensors, visual_words.safetensors"):
        load_image_model(tmp_path)
    tiny_network(num_channels=3).save_pretrained(tmp_path / "colour")
    tiny_image_model().words.save(tmp_path / "colour" / WORDS)
    with pytest.raises(ModelError, match="reads 3 channels in patches of 7 pixels"):
        load_image_model(tmp_path / "colour")
    tiny_network().save_pretrained(tmp_path / "other")
    VisualWords(torch.zeros(2, 4, 4, dtype=torch.uint8)).save(tmp_path / "other" / WORDS)
    with pytest.raises(ModelError, match="expected grey images in patches of 4"):
        load_image_model(tmp_path / "other")
    (tmp_path / "other" / WORDS).write_bytes(b"")
    with pytest.raises(ArtifactError, match="cannot be read as visual words"):
        load_image_model(tmp_path / "other")


def test_images_of_another_size_are_refused():
    with pytest.raises(ConfigError, match="images have 8 × 9 pixels, tiny-vit-0 reads 28 × 28"):
        tiny_image_model().inputs(torch.zeros(1, 8, 9, dtype=torch.uint8))
