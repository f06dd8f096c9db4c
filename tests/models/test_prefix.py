"""Rows read behind a kept prefix give the same probabilities as rows read whole, for every architecture."""

import pytest
import torch
from tiny import ARCHITECTURES, CONTEXT, tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.prefix import Prefix

ROWS = ([5, 6, 7, 8, 9, 10, 11, 12], [5, 6, 7, 8, 20, 21, 22], [5, 6, 7, 8, 20, 21, 22], [40, 41, 42], [40, 41, 42, 43])
PLACES = ([7], [4, 6], [2, 6], [0, 1, 2], [3])


@pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
def test_a_kept_prefix_changes_no_probability(architecture):
    model, prefix = tiny_model(architecture), Prefix()
    for row, places in zip(ROWS, PLACES, strict=True):
        found, _ = prefix.next_log_probs(model, row, places=places)
        whole = model.network(input_ids=torch.tensor([row])).logits[0, places].double().log_softmax(-1)
        assert torch.allclose(found, whole, atol=1e-5)


def test_only_what_differs_is_read():
    model, prefix = tiny_model(), Prefix()
    read = [prefix.next_log_probs(model, row, places=[len(row) - 1])[1] for row in ROWS]
    assert read == [8, 3, 1, 3, 1]
    assert prefix.next_log_probs(tiny_model(seed=1), ROWS[-1], places=[3])[1] == 4, "another model keeps nothing"


def test_a_row_longer_than_the_context_is_refused():
    with pytest.raises(ConfigError, match=f"{CONTEXT + 1} tokens does not fit"):
        Prefix().next_log_probs(tiny_model(), [1] * (CONTEXT + 1), places=[CONTEXT])
