"""Small GPT-2 networks with one token per word, in the Hugging Face layout that `load_model` opens."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.models.quiet import quiet

BOS = 0
"""The token that begins every text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """Sizes of a network."""

    n_vocabulary: int
    """Rows of embedding and unembedding, which are two matrices."""
    n_positions: int
    """Tokens that it can be given at most."""
    n_layers: int
    """Blocks."""
    d_model: int
    """Width of the residual stream."""
    n_heads: int
    """Attention heads of each block."""
    d_hidden: int
    """Hidden units of each MLP (GELU)."""

    def __post_init__(self) -> None:
        sizes = (self.n_vocabulary, self.n_positions, self.n_layers, self.d_model, self.n_heads, self.d_hidden)
        if min(sizes) < 1 or self.d_model % self.n_heads:
            raise ConfigError("sizes are at least 1, and d_model is a multiple of n_heads")


def new_network(shape: Shape, *, seed: int) -> Any:
    """An untrained GPT-2, its weights drawn from the seed."""
    from transformers import GPT2Config, GPT2LMHeadModel

    config = GPT2Config(
        vocab_size=shape.n_vocabulary,
        n_positions=shape.n_positions,
        n_embd=shape.d_model,
        n_layer=shape.n_layers,
        n_head=shape.n_heads,
        n_inner=shape.d_hidden,
        activation_function="gelu",
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        tie_word_embeddings=False,
        bos_token_id=BOS,
        eos_token_id=None,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(own_seed("risk network weights", seed))
        return GPT2LMHeadModel(config)


def save_network(network: Any, words: Sequence[str], folder: Path) -> None:
    """Config, weights, and a tokenizer whose token n is the n-th word."""
    with quiet():
        network.eval().save_pretrained(folder)
        _tokenizer(words).save_pretrained(folder)


def _tokenizer(words: Sequence[str]) -> Any:
    """Words stand apart by spaces; the first one is put in front of every text."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    first = words[BOS]
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token=first))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A", special_tokens=[(first, BOS)])
    return PreTrainedTokenizerFast(tokenizer_object=made, bos_token=first, pad_token=first)
