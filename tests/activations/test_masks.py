"""Special tokens and attention sinks get no row."""

import json

import numpy as np
import pytest
import torch

from bathyscope.activations.masks import Mask

NONE = np.array([], dtype=np.int64)
SPECIAL = frozenset({9})


def rows(*norms: float) -> torch.Tensor:
    return torch.tensor(norms)[:, None] * torch.tensor([0.6, 0.8])


def kept(mask: Mask, tokens: list[int], **x: torch.Tensor) -> list[bool]:
    return mask.kept(np.array(tokens, dtype=np.int32), x).tolist()


def test_special_tokens_and_sinks_are_masked_and_counted() -> None:
    mask = Mask(SPECIAL, sink_multiple=10.0, state={})
    assert kept(mask, [9, 1, 2, 3, 4], a=rows(500, 1, 2, 3, 21)) == [False, True, True, True, True]
    assert mask.median_norms == {"a": pytest.approx(2.5)}  # of the ordinary tokens
    assert kept(mask, [1, 2, 9], a=rows(24.9, 25.1, 1)) == [True, False, False]
    assert (mask.n_special, mask.n_sinks) == (2, 1)


def test_the_median_is_that_of_the_first_batch_with_ordinary_tokens() -> None:
    mask = Mask(SPECIAL, sink_multiple=10.0, state={})
    assert kept(mask, [9, 9], a=rows(1, 1)) == [False, False]
    assert mask.median_norms == {}
    kept(mask, [1], a=rows(2))
    kept(mask, [1, 2, 3], a=rows(7, 7, 7))
    assert mask.median_norms == {"a": pytest.approx(2.0)}


def test_a_sink_at_any_hookpoint_has_no_row() -> None:
    mask = Mask(NONE, sink_multiple=10.0, state={})
    kept(mask, [1], a=rows(1), b=rows(100))
    assert kept(mask, [1, 2, 3], a=rows(1, 11, 1), b=rows(100, 100, 1001)) == [True, False, False]


def test_a_multiple_of_zero_keeps_sinks() -> None:
    mask = Mask(SPECIAL, sink_multiple=0.0, state={})
    assert kept(mask, [1, 2, 9], a=rows(1, 10_000, 1)) == [True, True, False]


def test_a_hookpoint_whose_median_is_zero_masks_nothing(caplog) -> None:
    mask = Mask(NONE, sink_multiple=10.0, state={})
    assert kept(mask, [1, 2, 3], a=rows(0, 0, 5)) == [True, True, True]
    assert "half of the activations are zero" in caplog.text


def test_the_state_survives_json() -> None:
    mask = Mask(SPECIAL, sink_multiple=10.0, state={})
    kept(mask, [1, 9, 2, 3], a=rows(1 / 3, 5, 0.1, 99))
    again = Mask(SPECIAL, sink_multiple=10.0, state=json.loads(json.dumps(mask.state())))
    assert again.state() == mask.state()
    assert kept(again, [1], a=rows(3.3)) == kept(mask, [1], a=rows(3.3)) == [True]
