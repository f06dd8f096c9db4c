"""`growing_cache`: a key-value cache with room for what comes; a new token does not copy all that came before."""

import functools
from typing import TYPE_CHECKING, Any

from torch import Tensor

from bathyscope.models.model import Model

if TYPE_CHECKING:
    from transformers import DynamicCache

ROOM = 64
"""Tokens of room, at least; a cache that is full gets a quarter of its length more, if that is more."""


def growing_cache(model: Model) -> "DynamicCache | None":
    """An empty cache for one generation; None, which leaves the choice to the network, where layers do not all see
    every token behind them (sliding windows, recurrent layers)."""
    from transformers import DynamicCache
    from transformers.cache_utils import DynamicLayer

    config = getattr(model.network, "config", None)
    if config is None:
        return None
    kinds = {type(layer) for layer in DynamicCache(config=config.get_text_config(decoder=True)).layers}
    if not kinds <= {DynamicLayer}:
        return None
    cache = DynamicCache()
    cache.layer_class_to_replicate = _growing_layer()
    return cache


@functools.cache
def _growing_layer() -> type:
    """The class of a layer of the cache, made when transformers is there."""
    from transformers.cache_utils import DynamicLayer

    class GrowingLayer(DynamicLayer):
        """Keys and values are the beginnings of longer tensors; new tokens are written behind them."""

        _held: tuple[Tensor, ...] | None = None
        _seen: Tensor | None = None

        def update(
            self, key_states: Tensor, value_states: Tensor, *args: Any, **keywords: Any
        ) -> tuple[Tensor, Tensor]:
            """The keys and values of all tokens so far, [B, heads, S, head]."""
            if not self.is_initialized:
                self.lazy_initialization(key_states, value_states)
            past = self.get_seq_length()
            length = past + key_states.shape[-2]
            held = self._held
            if held is None or self.keys is not self._seen or held[0].shape[-2] < length:
                held = tuple(
                    _with_room(old if past else None, new, length)
                    for old, new in ((self.keys, key_states), (self.values, value_states))
                )
            for whole, new in zip(held, (key_states, value_states), strict=True):
                whole[..., past:length, :] = new
            self._held = held
            self.keys, self.values = (whole[..., :length, :] for whole in held)
            self._seen = self.keys
            return self.keys, self.values

    return GrowingLayer


def _with_room(old: Tensor | None, new: Tensor, length: int) -> Tensor:
    """A tensor of more than `length` tokens that begins with the old ones."""
    whole = new.new_empty(*new.shape[:-2], length + max(ROOM, length // 4), new.shape[-1])
    if old is not None:
        whole[..., : old.shape[-2], :] = old
    return whole
