"""What a risk estimate costs: forwards of whole inputs, through all blocks, with the logits behind the last token.

A gradient costs two forwards more and counts so in the budget, so the budget alone decides.
"""

from bathyscope.planning.hardware import ELEMENT_BYTES
from bathyscope.planning.layout import Layout
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stages.collect import model_bytes
from bathyscope.planning.work import Part, Rates

ROWS = 256
"""Inputs of one forward, as `estimate` takes them."""
LOGIT_PASSES = 4
"""Passes over the logits, in float64, until the event is decided."""


def parts(sizes: Sizes, layout: Layout, rates: Rates) -> tuple[Part, ...]:
    """All forwards of the budget, on one of the layout's devices."""
    shape, n = sizes.shape, sizes.forwards / layout.devices
    tokens = n * sizes.prompt_tokens
    passed = shape.n_layers * shape.layer_passes * ELEMENT_BYTES[layout.compute]
    return (
        rates.part("forward: products", "product", tokens * shape.token_flops(shape.n_layers, sizes.prompt_tokens)),
        rates.part("forward: between products", "pass", tokens * passed),
        rates.part("logits: product", "product", 2 * n * shape.n_vocabulary * shape.d_model),
        rates.part("logits: event", "pass", n * LOGIT_PASSES * shape.n_vocabulary * 8),
    )


def memory_bytes(sizes: Sizes, layout: Layout) -> int:
    """The model, its activations within a block, and the logits of one batch."""
    rows = ROWS * sizes.prompt_tokens * sizes.shape.layer_passes * ELEMENT_BYTES[layout.compute]
    return model_bytes(sizes, layout) + rows + ROWS * sizes.shape.n_vocabulary * 8
