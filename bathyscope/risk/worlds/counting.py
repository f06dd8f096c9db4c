"""Truth by counting: how often each token is the likeliest next one, over very many samples of a fast network.

Bounds are Clopper and Pearson's, 95 % for each token by itself. Every chunk of samples has a seed of its own, so an
interrupted count goes on to the same bytes.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope import artifacts, progress
from bathyscope.artifacts import Draft, Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.models.load import load_model
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.tails import clopper_pearson
from bathyscope.risk.worlds.last_position import LastPosition
from bathyscope.risk.worlds.truth import KIND, Truth, read_truth, save_truth

CHUNK = 1 << 20
"""Samples between checkpoints, of one seed."""
BATCH = 1024
"""Samples at a time: their logits fit into a core's own cache."""
LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSettings:
    """Settings of `count_tokens`."""

    n_samples: int = 1 << 28
    """Inputs to draw."""
    seed: int = 0
    """Seed of the draws."""

    def __post_init__(self) -> None:
        if self.n_samples < 1:
            raise ConfigError(f"n_samples is {self.n_samples}, expected at least 1")


def count_tokens(model: Path, law: ProductTokens, settings: CountSettings, *, out: Path) -> Truth:
    """The truth in folder `out` (kind `truth`), counted there first if it is not; resumes after its last whole chunk.

    `model` is the folder of a GPT-2 of one layer.
    """
    recipe = Recipe(
        kind=KIND,
        config={"law": law.sha256, "settings": settings},
        seed=settings.seed,
        parents={"model": model},
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            counts_V = _count(LastPosition(load_model(model), law), settings, work)
            save_truth(counted(counts_V), law, work.path, counts=counts_V.tolist())
    return read_truth(out)[0]


def counted(counts_V: Int[Tensor, " V"]) -> Truth:
    """The truth that counts of independent samples tell."""
    n = int(counts_V.sum())
    bounds = [clopper_pearson(count, n, level=LEVEL) for count in counts_V.tolist()]
    low_V, high_V = torch.tensor(bounds, dtype=torch.float64).unbind(1)
    return Truth(p_V=counts_V.double() / n, low_V=low_V, high_V=high_V, n_inputs=n)


def _count(fast: LastPosition, settings: CountSettings, work: Draft) -> Int[Tensor, " V"]:
    """Counts of all samples, those of the draft's last checkpoint included."""
    state = work.state() or {"chunks": 0, "counts": [0] * fast.n_vocabulary}
    counts_V = torch.tensor(state["counts"])
    for chunk in range(state["chunks"], -(-settings.n_samples // CHUNK)):
        size = min(CHUNK, settings.n_samples - chunk * CHUNK)
        generator = torch.Generator().manual_seed(own_seed(f"count {chunk}", settings.seed))
        for first in range(0, size, BATCH):
            choices_NC = fast.draw(min(BATCH, size - first), generator=generator)
            counts_V += torch.bincount(fast.logits(choices_NC).argmax(1), minlength=len(counts_V))
        progress.report("count", chunk * CHUNK + size, settings.n_samples, "samples")
        work.checkpoint({"chunks": chunk + 1, "counts": counts_V.tolist()})
    return counts_V
