"""A cache with room holds what the network's own holds, cut back or reordered as well, and leaves windows alone."""

import pytest
import torch
from tiny import tiny_model

from bathyscope.models.growing_cache import ROOM, growing_cache


@pytest.fixture(scope="module")
def model():
    return tiny_model()


def test_logits_are_those_behind_the_networks_own_cache_bit_for_bit(model):
    """Through a prompt, more tokens than there is room for, a cut and a new order of the rows."""
    from transformers import DynamicCache

    ours, own = growing_cache(model), DynamicCache()
    draws = torch.Generator().manual_seed(0)

    def read(n: int) -> None:
        tokens_BS = torch.randint(0, 200, (3, n), generator=draws)
        with torch.no_grad():
            found, expected = (model.network(tokens_BS, past_key_values=cache).logits for cache in (ours, own))
        assert torch.equal(found, expected)

    for n in (7, *[1] * (ROOM + 3), 5):
        read(n)
    for cache in (ours, own):
        cache.crop(-9)
    read(2)
    for cache in (ours, own):
        cache.reorder_cache(torch.tensor([2, 2, 0]))
    read(1)
    read(1)
    assert ours.get_seq_length() == own.get_seq_length() == 7 + ROOM + 3 + 5 - 9 + 4


def test_a_new_token_is_written_beside_those_before(model):
    cache = growing_cache(model)
    with torch.no_grad():
        model.network(torch.tensor([[1, 2, 3]]), past_key_values=cache)
        place = cache.layers[0].keys.data_ptr()
        model.network(torch.tensor([[4]]), past_key_values=cache)
    assert cache.layers[0].keys.data_ptr() == place


def test_a_network_with_windows_chooses_its_own_cache(model, monkeypatch):
    config = model.network.config.__class__(
        num_hidden_layers=2, layer_types=["sliding_attention", "full_attention"], sliding_window=4
    )
    monkeypatch.setattr(model.network, "config", config)
    assert growing_cache(model) is None
