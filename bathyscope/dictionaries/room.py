"""Whether dictionaries that are to be trained fit into memory, asked before the first step."""

import logging
from collections.abc import Mapping

from bathyscope import runtime
from bathyscope.dictionaries.job import Job, Task

log = logging.getLogger(__name__)


def require_memory(job: Job, tasks: Mapping[str, Task]) -> None:
    """Raise DeviceError for what cannot be held at once: weights and Adam's averages of all, gradients of the largest.

    What a step needs besides is small where these are large, and is not counted.
    """
    if not tasks:
        return
    sizes = {name: job.memory_bytes(task.kind) for name, task in tasks.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    kind = tasks[largest].kind
    needed = sum(sizes.values()) + job.weight_bytes(kind)
    if len(sizes) == 1:
        what, made_of = f"{kind.n_features:,} features of width {job.d_model:,}", "weights, gradients, Adam's averages"
    else:
        log.info("%d dictionaries to train need %s MB of memory", len(sizes), f"{needed / 1e6:,.0f}")
        what = f"{len(sizes)} dictionaries"
        made_of = f"weights and Adam's averages; the largest, {largest}, {sizes[largest] / 1e6:,.1f} MB"
    remedy = "train fewer or smaller ones, or see `bathyscope plan`"
    runtime.require_memory(needed, what=what, made_of=made_of, remedy=remedy, device=job.settings.device)
