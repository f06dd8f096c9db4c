"""`Model`: a network, its tokenizer and where they came from.

Knows which part of the network is the decoder body; knows nothing of files, hooks or text.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn

from bathyscope.errors import ModelError

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
else:  # importing transformers takes a second
    PreTrainedModel, PreTrainedTokenizerBase = nn.Module, Any


class Trial(NamedTuple):
    """A small batch that shows what a network's modules put out."""

    inputs: Mapping[str, Any]
    """Keyword inputs of the body, two rows."""
    n_positions: int
    """S of the [2, S, D] tensors that hookpoints return for it."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class Model:
    """A causal language model that is ready to be read: evaluation mode, weights that take no gradient."""

    network: PreTrainedModel
    """The Hugging Face network; call it as usual."""
    tokenizer: PreTrainedTokenizerBase
    """Its tokenizer."""
    name: str
    """What the user called it, without folders: `smollm2`, a file's stem, a Hub id."""
    identity: Mapping[str, str]
    """What tells these weights from others: name, `sha256` of the weights or Hub `revision`, dtype, description."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Materials it was made from (name, version, sha256, licence, origin), for manifests."""

    @property
    def body(self) -> nn.Module:
        """The decoder without the unembedding; hookpoint names are module paths relative to it."""
        body = self.network.get_decoder()
        if not isinstance(body, nn.Module):
            raise ModelError(f"{self.name} is a {type(self.network).__name__}, expected a causal language model")
        return body

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.network.config.get_text_config(decoder=True).hidden_size)

    @property
    def n_layers(self) -> int:
        """Number of decoder blocks."""
        return int(self.network.config.get_text_config(decoder=True).num_hidden_layers)

    @property
    def n_vocabulary(self) -> int:
        """Rows of the unembedding; may exceed the tokenizer's vocabulary."""
        return int(self.network.config.get_text_config(decoder=True).vocab_size)

    @property
    def context_length(self) -> int:
        """Most tokens that the network was built for."""
        return int(self.network.config.get_text_config(decoder=True).max_position_embeddings)

    @property
    def device(self) -> torch.device:
        """Where the token ids must be."""
        return next(self.network.parameters()).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of weights and activations."""
        return self.network.dtype

    @property
    def reading(self) -> Mapping[str, Any]:
        """Keyword inputs of every forward that only reads: no cache is kept."""
        return {"use_cache": False}

    def trial(self) -> Trial:
        """Two rows of three tokens."""
        tokens_BS = torch.zeros(2, 3, dtype=torch.long, device=self.device)
        return Trial({"input_ids": tokens_BS, **self.reading}, 3)
