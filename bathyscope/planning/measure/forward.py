"""The forward of a small language model in transformers: what it costs beside its products."""

from typing import Any

import torch
from torch import nn

from bathyscope.models.packing import packed_inputs
from bathyscope.planning.measure.clock import seconds_of
from bathyscope.planning.shape import ModelShape, shape_of

ROWS, CONTEXT, LAYERS = 16, 128, 3


def pass_rate(product: float, *, rounds: int) -> float:
    """Bytes/s that go by between products, with products at `product` FLOP/s.

    Packed rows of two documents each through blocks of SmolLM2's sizes. What products lose at these shapes counts too.
    """
    shape = shape_of("smollm2")
    network, inputs = _network(shape), _inputs()

    def forward() -> None:
        with torch.no_grad():
            network(**inputs)

    seconds = seconds_of({"forward": forward}, rounds=rounds)["forward"]
    n = ROWS * CONTEXT
    products = n * shape.token_flops(LAYERS, CONTEXT) / product
    passed = 4 * n * LAYERS * shape.layer_passes
    return passed / max(seconds - products, 0.02 * seconds)


def _network(shape: ModelShape) -> nn.Module:
    """A decoder body with random weights."""
    from transformers import LlamaConfig, LlamaModel

    config = LlamaConfig(
        vocab_size=256,
        hidden_size=shape.d_model,
        intermediate_size=shape.d_mlp,
        num_hidden_layers=LAYERS,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_key_heads,
        max_position_embeddings=CONTEXT,
    )
    return LlamaModel(config).eval().requires_grad_(False)


def _inputs() -> dict[str, Any]:
    tokens_BS = torch.randint(0, 256, (ROWS, CONTEXT), generator=torch.Generator().manual_seed(0))
    segments_BS = (torch.arange(CONTEXT) >= CONTEXT // 2).long().expand(ROWS, CONTEXT)
    return packed_inputs(tokens_BS, segments_BS)
