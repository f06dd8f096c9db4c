"""The activations of a benchmark: made from a seed, or read from what was stored, in one file for all contenders."""

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.start import unit_second_moment
from bathyscope.evaluation.worlds.settings import WorldSettings
from bathyscope.evaluation.worlds.world import World

SCALE_ROWS = 16_384
"""Rows that the scale is taken from; they are shuffled."""


class Written(NamedTuple):
    """What stands in the file."""

    d_model: int
    scale: float
    """What the activations were multiplied by."""


def write_rows(file: Path, *, source: str | None, n: int, d_model: int, seed: int, is_unit: bool = False) -> Written:
    """Write `x` [n, D] (float32) to `file`, with `is_unit` scaled to a mean squared length of D.

    From a folder of activations n of its training rows, shuffled; from a safetensors file the first n rows of its only
    tensor; without a source sparse sums of known directions of width `d_model`.
    """
    x_ND = _made(n, d_model, seed) if source is None else _read(Path(source), n, seed)
    if len(x_ND) < n:
        raise SystemExit(f"error: {source} holds {len(x_ND):,} rows, {n:,} are needed; ask for fewer")
    scale = unit_second_moment(x_ND[:SCALE_ROWS]) if is_unit else 1.0
    save_file({"x": (x_ND.float() * scale).contiguous()}, file)
    return Written(x_ND.shape[1], scale)


def _made(n: int, d_model: int, seed: int) -> Tensor:
    world = World(WorldSettings(d_model=d_model, n_true=2 * d_model, orthogonal_steps=0), seed=seed)
    return torch.cat(list(world.batches(n, batch_size=4096, seed=seed)))


def _read(source: Path, n: int, seed: int) -> Tensor:
    if source.is_dir():
        store = ActivationStore(source)
        rows = store.rows("train")
        drawn = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))[:n].sort().values
        shuffled = drawn[torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed + 1))]
        return store.read(rows[drawn.numpy()])[torch.searchsorted(drawn, shuffled)]
    with safe_open(source, framework="pt") as file:
        (name,) = file.keys()
        return file.get_slice(name)[:n]
