"""What `train` costs: dense work only in the encoder's product, sparse rows for kept pairs, passes over the weights.

Of a step of N tokens, on a device with f of F features and n of N rows:

    product  2·n·D·f FLOP
    scan     n·f numbers, looked through for the largest
    pairs    PAIR_KERNELS rows of D numbers for each of n·K·f/F pairs: decode, codes' gradients, two weight gradients
    weights  WEIGHT_PASSES over encoder and decoder: gradients, their length and projection, Adam, unit rows
    link     sums of partial reconstructions and each device's candidates (feature parallel), gradients (data parallel)

How fast each goes is fitted to real steps by the calibration; the counts are the one place to change with the kernels.
"""

import math
from collections.abc import Mapping

from bathyscope.dictionaries import size
from bathyscope.dictionaries.job import TrainSettings
from bathyscope.dictionaries.learn import REST
from bathyscope.dictionaries.size import FLOAT_BYTES
from bathyscope.dictionaries.start import MEDIAN_ROWS
from bathyscope.planning.hardware import ELEMENT_BYTES
from bathyscope.planning.layout import Layout
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stages.collect import forward_parts, model_bytes
from bathyscope.planning.work import Part, Rates, total_seconds

SETTINGS = TrainSettings()
PAIR_KERNELS = 4
WEIGHT_PASSES = 11.5
"""Gradient written 1, its length 1, projection of the decoder's 3/2, Adam 4 read and 3 written, unit rows 2/2."""
START_PASSES, MEDIAN_ROUNDS = 10, 50
"""To find the scale, and rounds until the geometric median stands still, as it usually does."""
CANDIDATE_BYTES = 8
"""Value and number of a feature that may be among the largest."""
STREAM_BYTES = 1_500_000_000
"""Rows that are kept in memory to be drawn from; of more, pieces are read again in every epoch."""


def parts(sizes: Sizes, layout: Layout, rates: Rates) -> tuple[Part, ...]:
    """All steps, what they read, and what is written, on one of the layout's devices."""
    rows = sizes.n_tokens * sizes.epochs
    steps = step_parts(sizes, layout, rates, n_steps=math.ceil(rows / layout.batch_size))
    if layout.keeps_activations:
        fed = _stored_parts(sizes, layout, rates)
    else:
        fed = forward_parts(sizes, layout, rates, n_tokens=rows / layout.devices)
    begun = rates.part("start: scale and bias", "weights", start_bytes(sizes))
    return (begun, *steps, *fed, *_ending_parts(sizes, layout, rates, seconds=total_seconds(steps)))


def start_bytes(sizes: Sizes) -> int:
    """Passes in float64 over the rows that are read ahead, and rounds over those of which the median is taken."""
    rows = min(SETTINGS.start_rows, sizes.n_tokens)
    return 8 * sizes.d_model * (START_PASSES * rows + 2 * MEDIAN_ROUNDS * min(MEDIAN_ROWS, rows))


def step_parts(sizes: Sizes, layout: Layout, rates: Rates, *, n_steps: int) -> tuple[Part, ...]:
    """So many steps; of one device the parts for communication are left out."""
    amounts = step_amounts(
        n=layout.batch_size / layout.data_parallel,
        n_features=sizes.n_features / layout.feature_parallel,
        k=sizes.k / layout.feature_parallel,
        d_model=sizes.d_model,
        element_bytes=ELEMENT_BYTES[layout.compute],
    )
    sent = _sent_bytes(sizes, layout)
    told = {"step: sums between devices": sent} if sent else {}
    return (
        rates.part("step: encoder product", "product", n_steps * amounts["product"]),
        rates.part("step: largest found", "scan", n_steps * amounts["scan"]),
        rates.part("step: kept pairs", "pairs", n_steps * amounts["pairs"]),
        rates.part("step: rows of the batch", "rows", n_steps * amounts["rows"]),
        rates.part("step: weights and Adam", "weights", n_steps * amounts["weights"]),
        rates.part("step: fixed", "step", n_steps),
        *(rates.part(name, "link", n_steps * amount) for name, amount in told.items()),
    )


def step_amounts(
    *, n: int | float, n_features: int | float, k: int | float, d_model: int, element_bytes: int = 4
) -> Mapping[str, int | float]:
    """Sort → amount of one step of `n` tokens on one device; the calibration counts by the same formulas."""
    return {
        "product": 2 * n * d_model * n_features,
        "scan": n * n_features * element_bytes,
        "pairs": PAIR_KERNELS * n * k * d_model * FLOAT_BYTES,
        "rows": n * d_model * FLOAT_BYTES,
        "weights": WEIGHT_PASSES * size.weight_bytes(1, d_model) * n_features,
    }


def memory_bytes(sizes: Sizes, layout: Layout) -> int:
    """Weights and Adam's averages, one step, rows to draw from; the model as well where activations are not kept."""
    n_features, n = -(-sizes.n_features // layout.feature_parallel), -(-layout.batch_size // layout.data_parallel)
    held = size.kept_bytes(n_features, sizes.d_model) + size.step_bytes(
        n_features, sizes.d_model, k=sizes.k, batch_size=n, buffer_bytes=layout.buffer_bytes
    )
    if layout.compute != "float32":
        held += size.weight_bytes(n_features, sizes.d_model) * ELEMENT_BYTES[layout.compute] // FLOAT_BYTES
    if layout.keeps_activations:
        return held + min(STREAM_BYTES, _read_bytes(sizes))
    return held + model_bytes(sizes, layout)


def disk_bytes(sizes: Sizes) -> int:
    """The dictionary and two checkpoints."""
    return size.disk_bytes(sizes.n_features, sizes.d_model)


def _read_bytes(sizes: Sizes) -> int:
    """Rows of the one hookpoint that a dictionary learns from."""
    return sizes.n_tokens * sizes.d_model * sizes.stored_bytes


def _stored_parts(sizes: Sizes, layout: Layout, rates: Rates) -> tuple[Part, ...]:
    """Sums of the store compared once; its rows read once where they fit into memory, else in every epoch."""
    rows = _read_bytes(sizes)
    times = 1 if rows <= STREAM_BYTES else sizes.epochs
    return (
        rates.part("sums of the store compared", "hash", sizes.n_tokens * sizes.row_bytes / layout.devices),
        rates.part("rows read", "read", times * rows / layout.devices),
    )


def _ending_parts(sizes: Sizes, layout: Layout, rates: Rates, *, seconds: float) -> tuple[Part, ...]:
    """Checkpoints while it runs `seconds`, one look at the data with the finished dictionary, and its file."""
    own = sizes.n_features / layout.feature_parallel
    saved = size.KEPT_COPIES * size.weight_bytes(1, sizes.d_model) * own / layout.data_parallel
    pause = max(SETTINGS.checkpoint_seconds, REST * saved / rates.per_second["write"])
    file = size.weight_bytes(1, sizes.d_model) * own / layout.data_parallel
    n = min(SETTINGS.survey_rows, sizes.n_tokens) / layout.data_parallel
    look = step_amounts(n=n, n_features=own, k=sizes.k / layout.feature_parallel, d_model=sizes.d_model)
    return (
        rates.part("checkpoints", "write", saved * (1 + int(seconds / pause))),
        rates.part("survey: product", "product", look["product"]),
        rates.part("survey: largest found", "scan", look["scan"]),
        rates.part("survey: decode", "pairs", look["pairs"] / PAIR_KERNELS),
        rates.part("dictionary written", "write", file),
        rates.part("dictionary summed", "hash", file),
    )


def _sent_bytes(sizes: Sizes, layout: Layout) -> float:
    """Bytes that one device sends in a step; sums over g devices by rings send 2·(g − 1)/g of what is summed."""
    n, of_features, of_data = (
        layout.batch_size / layout.data_parallel,
        layout.feature_parallel,
        layout.data_parallel,
    )
    rebuilt = 2 * (of_features - 1) / of_features * n * sizes.d_model * FLOAT_BYTES
    candidates = (of_features - 1) * n * min(sizes.k, sizes.n_features / of_features) * CANDIDATE_BYTES
    gradients = 2 * (of_data - 1) / of_data * size.weight_bytes(1, sizes.d_model) * sizes.n_features / of_features
    return rebuilt + candidates + gradients
