"""What `collect` costs: the model's forward up to the hookpoint, and the rows that are written and summed."""

from bathyscope.activations import size
from bathyscope.activations.collect import CollectSettings
from bathyscope.planning.hardware import ELEMENT_BYTES
from bathyscope.planning.layout import Layout
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.work import Part, Rates

SETTINGS = CollectSettings()


def parts(sizes: Sizes, layout: Layout, rates: Rates) -> tuple[Part, ...]:
    """Reading every token once and keeping its rows, on one of the layout's devices."""
    share = sizes.n_tokens / layout.devices
    written = share * (sizes.row_bytes + size.TOKEN_BYTES)
    return (
        *forward_parts(sizes, layout, rates, n_tokens=share),
        rates.part("rows written", "write", written),
        rates.part("rows summed", "hash", written),
    )


def forward_parts(sizes: Sizes, layout: Layout, rates: Rates, *, n_tokens: int | float) -> tuple[Part, ...]:
    """The forward of so many tokens, ended behind the last hookpoint."""
    flops = sizes.shape.token_flops(sizes.depth, sizes.context)
    passed = sizes.depth * sizes.shape.layer_passes * ELEMENT_BYTES[layout.compute]
    return (
        rates.part("text tokenised", "tokenise", n_tokens),
        rates.part("forward: products", "product", n_tokens * flops),
        rates.part("forward: between products", "pass", n_tokens * passed),
    )


def memory_bytes(sizes: Sizes, layout: Layout) -> int:
    """The whole model, the shard that is being filled, and one batch."""
    collected = size.collect_bytes(
        sizes.d_model,
        row_bytes=sizes.row_bytes,
        shard_rows=SETTINGS.shard_rows,
        batch_tokens=max(SETTINGS.packing.batch_tokens, sizes.context),
    )
    return model_bytes(sizes, layout) + collected


def model_bytes(sizes: Sizes, layout: Layout) -> int:
    """The model's weights."""
    return sizes.shape.n_parameters * ELEMENT_BYTES[layout.compute]


def disk_bytes(sizes: Sizes) -> int:
    """The finished store."""
    return size.disk_bytes(sizes.n_tokens, row_bytes=sizes.row_bytes)
