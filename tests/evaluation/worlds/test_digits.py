"""The reader of digits: a folder that opens as an image model, the same bytes after a break, held-out images unseen."""

import dataclasses
import json

import pytest
import torch

from bathyscope import artifacts, progress
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.digits import DigitsSettings, is_right, shifted, train_digits
from bathyscope.evaluation.worlds.segments import drawn_digits
from bathyscope.models.visual_words import fit_words

IMAGES = drawn_digits(60, seed=0)
TINY = DigitsSettings(
    patch_size=7,
    n_layers=1,
    d_model=16,
    n_heads=2,
    d_hidden=16,
    n_words=10,
    n_steps=4,
    batch_size=10,
    checkpoint_every=2,
)


class Interrupted(Exception):
    pass


def test_an_interrupted_training_goes_on_to_the_same_bytes(tmp_path):
    def interrupt(step: progress.Step) -> None:
        if step.stage == "digits" and step.done == 4:
            raise Interrupted

    with pytest.raises(Interrupted), progress.listening(interrupt):
        train_digits(IMAGES, TINY, out=tmp_path / "cut")
    train_digits(IMAGES, TINY, out=tmp_path / "cut")
    train_digits(IMAGES, TINY, out=tmp_path / "whole")
    digests = [artifacts.verify(tmp_path / name).digest for name in ("cut", "whole")]
    assert digests[0] == digests[1]


def test_the_folder_is_an_image_model_whose_metrics_are_its_own(tmp_path):
    model = train_digits(IMAGES, TINY, out=tmp_path / "digits")
    assert (model.d_model, model.n_layers, model.n_patches, model.words.n_words) == (16, 1, 16, 10)
    lines = [json.loads(line) for line in (tmp_path / "digits" / METRICS).read_text().splitlines()]
    held_out = IMAGES.is_held_out(share=TINY.held_out, seed=TINY.seed)
    right = is_right(model.network, IMAGES.pixels_NHW[held_out], IMAGES.labels_N[held_out])
    assert [line["step"] for line in lines] == [2, 4]
    assert lines[-1]["held_out_accuracy"] == float(right.double().mean())


def test_held_out_images_decide_neither_weights_nor_words(tmp_path):
    held_out = IMAGES.is_held_out(share=TINY.held_out, seed=TINY.seed)
    changed = dataclasses.replace(IMAGES, pixels_NHW=IMAGES.pixels_NHW.clone())
    changed.pixels_NHW[held_out] = 255 - changed.pixels_NHW[held_out]
    first, second = (train_digits(each, TINY, out=tmp_path / each.sha256[:8]) for each in (IMAGES, changed))
    assert first.identity["sha256"] == second.identity["sha256"]
    own = fit_words(IMAGES.pixels_NHW[~held_out], patch_size=7, n_words=10, seed=0)
    assert first.words.sha256 == second.words.sha256 == own.sha256


def test_a_shifted_image_is_the_image_moved_with_black_coming_in():
    images = IMAGES.pixels_NHW[:20]
    moved = shifted(images, reach=2, generator=torch.Generator().manual_seed(0))
    wide = torch.nn.functional.pad(images, (2, 2, 2, 2))
    for before, after in zip(wide, moved, strict=True):
        places = [before[y : y + 28, x : x + 28] for y in range(5) for x in range(5)]
        assert any(torch.equal(after, place) for place in places)
    assert torch.equal(shifted(images, reach=0, generator=torch.Generator()), images)


@pytest.mark.parametrize("wrong", [{"n_heads": 3}, {"n_steps": 0}, {"lr": 0.0}, {"held_out": 0.0}, {"max_shift": -1}])
def test_settings_that_make_no_network_are_refused(wrong):
    with pytest.raises(ConfigError):
        DigitsSettings(**wrong)
