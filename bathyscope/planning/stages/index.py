"""What `index_features` costs: each token encoded once, every pair of features compared, each feature looked up.

Linear in tokens and features, but for one part that grows with the square of the features: cosines of directions.
"""

import math

from bathyscope.features import size
from bathyscope.features.settings import IndexSettings
from bathyscope.planning.hardware import ELEMENT_BYTES
from bathyscope.planning.layout import Layout
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stages.collect import forward_parts, model_bytes
from bathyscope.planning.work import Part, Rates

SETTINGS = IndexSettings()
COMPARED = "neighbours: product"
"""The part that comes to outweigh the others."""
FLOAT_BYTES = 4
CODE_BYTES = 8
"""Of a code on disk: row and value."""
TOKEN_PAIR_BYTES = 24
"""Passed over to count, for each pair of features that fires on one token."""


def parts(sizes: Sizes, layout: Layout, rates: Rates) -> tuple[Part, ...]:
    """The whole index, on one of the layout's devices."""
    tokens, n_features = sizes.n_indexed / layout.devices, sizes.n_features / layout.devices
    codes = CODE_BYTES * sizes.k * tokens
    anew = () if layout.keeps_activations else forward_parts(sizes, layout, rates, n_tokens=tokens)
    return (
        *anew,
        rates.part("encode: product", "product", 2 * tokens * sizes.d_model * sizes.n_features),
        rates.part("encode: largest and near misses", "near", tokens * sizes.n_features * FLOAT_BYTES),
        rates.part("encode: near misses exchanged", "candidates", near_bytes(tokens, sizes.n_features)),
        rates.part("codes sorted by feature", "postings", codes),
        rates.part("codes written", "write", codes),
        rates.part("examples", "examples", n_features),
        rates.part("text and vocabulary", "tokenise", tokens + sizes.shape.n_vocabulary),
        *_neighbour_parts(sizes, layout, rates, n_features=n_features),
        *_logit_parts(sizes, rates, n_features=n_features),
    )


def near_bytes(n_tokens: int | float, n_features: int) -> float:
    """Near misses that get among the best so far, for all features.

    Of T windows in random order, n + n·ln(T/n) are among the n best when they come.
    """
    n, windows = size.SPARE * SETTINGS.near_misses, n_tokens / SETTINGS.window
    got_in = n * (1 + math.log(windows / n)) if windows > n else windows
    return size.CANDIDATE_BYTES * got_in * n_features


def memory_bytes(sizes: Sizes, layout: Layout) -> int:
    """The dictionary, what the pass over the text holds, and the unembedding; the model where it runs anew."""
    held = size.index_bytes(
        sizes.n_features,
        n_tokens=-(-sizes.n_indexed // layout.devices),
        near_misses=SETTINGS.near_misses,
        batch_tokens=SETTINGS.batch_tokens,
    )
    dictionary = 2 * sizes.n_features * sizes.d_model * FLOAT_BYTES
    if not layout.keeps_activations:
        return held + dictionary + model_bytes(sizes, layout)
    return held + dictionary + sizes.shape.n_vocabulary * sizes.d_model * ELEMENT_BYTES[layout.compute]


def disk_bytes(sizes: Sizes) -> int:
    """Scratch room of the codes, which is more than the tables take in the end."""
    return CODE_BYTES * sizes.k * sizes.n_indexed


def _neighbour_parts(sizes: Sizes, layout: Layout, rates: Rates, *, n_features: float) -> tuple[Part, ...]:
    """Nearest by direction, where a processor compares each pair once, and by firing together on a sample of tokens."""
    sampled = min(SETTINGS.cofiring_tokens, sizes.n_indexed) * n_features / sizes.n_features
    pairs = n_features * sizes.n_features
    return (
        rates.part(COMPARED, "product", (1 if layout.device == "cpu" else 2) * pairs * sizes.d_model),
        rates.part("neighbours: nearest", "largest", pairs * FLOAT_BYTES),
        rates.part("neighbours: firing together", "counting", sampled * sizes.k**2 * TOKEN_PAIR_BYTES),
    )


def _logit_parts(sizes: Sizes, rates: Rates, *, n_features: float) -> tuple[Part, ...]:
    """Tokens that each direction raises and lowers most."""
    logits = n_features * sizes.shape.n_vocabulary
    return (
        rates.part("logits: product", "product", 2 * logits * sizes.d_model),
        rates.part("logits: highest and lowest", "largest", 2 * logits * FLOAT_BYTES),
    )
