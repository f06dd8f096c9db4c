"""Padding on either side is invisible to real tokens."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import names
from bathyscope.models.hooks import run
from bathyscope.models.padding import padded_inputs

ROWS = [[257, 72, 101, 108, 108, 111, 33, 34, 35], [257, 40, 41], [90]]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_activations_at_real_tokens_equal_those_of_the_row_alone(architecture, side):
    model = tiny_model(architecture)
    everything = names(model)
    inputs = padded_inputs(model, ROWS, side=side)
    padded = run(model, inputs, everything)
    for number, row in enumerate(ROWS):
        alone = run(model, torch.tensor([row]), everything)
        real_S = inputs["attention_mask"][number].bool()
        for name in everything:
            torch.testing.assert_close(padded[name][number, real_S], alone[name][0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_activation_is_nan_not_even_at_padding(architecture):
    model = tiny_model(architecture)
    for side in ("left", "right"):
        padded = run(model, padded_inputs(model, ROWS, side=side), "**.mlp")
        assert all(bool(x_BSD.isfinite().all()) for x_BSD in padded.values())


def test_left_padding_without_position_ids_is_wrong_for_learnt_positions():
    """Why `padded_inputs` makes them: GPT-2 counts padding as positions otherwise."""
    model = tiny_model("gpt2")
    inputs = padded_inputs(model, ROWS, side="left")
    del inputs["position_ids"]
    alone = run(model, torch.tensor([ROWS[1]]), "h.0")["h.0"]
    assert float((run(model, inputs, "h.0")["h.0"][1, -3:] - alone[0]).abs().max()) > 0.1


def test_masks_and_positions_are_as_drawn(tiny_model):
    left = padded_inputs(tiny_model, [[5, 6, 7], [8]], side="left")
    right = padded_inputs(tiny_model, [[5, 6, 7], [8]], side="right")
    assert left["input_ids"].tolist() == [[5, 6, 7], [256, 256, 8]]
    assert left["attention_mask"].tolist() == [[1, 1, 1], [0, 0, 1]]
    assert left["position_ids"].tolist() == [[0, 1, 2], [0, 0, 0]]
    assert right["input_ids"].tolist() == [[5, 6, 7], [8, 256, 256]]
    assert right["position_ids"][0].tolist() == [0, 1, 2]


def test_an_empty_row_is_refused(tiny_model):
    with pytest.raises(ConfigError, match="each row at least one token"):
        padded_inputs(tiny_model, [[1], []])
