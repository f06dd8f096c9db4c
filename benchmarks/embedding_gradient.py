"""Slopes in every token that may stand at a position: at embeddings, beside one-hot inputs, in one run.

.venv/bin/python benchmarks/embedding_gradient.py --rounds 5

One step draws a batch, runs it forward and backward from one logit, and gives the mean slope in each token of each
position's support. Steps are taken in turn (one-hot, embedding, one-hot, ...), so that whatever else the machine does
falls on both alike; the gain is the median over rounds of their ratio. Memory: what stands for the inputs and their
slopes, in bytes of tensors, and for each way in a process of its own how far its peak rises above what it held before.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import tyro
from peak import forget_peak, peak_bytes

from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.events.logit import ArgmaxToken, next_logits
from bathyscope.risk.inputs.law import draw
from bathyscope.risk.inputs.product import ProductTokens
from bathyscope.risk.inputs.recipes.hexadecimal import hex_law
from bathyscope.risk.problem import Problem
from bathyscope.risk.projection import Projection


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is timed."""

    model: str = "smollm2"
    """Model, by name or folder."""
    positions: int = 9
    """Hexadecimal tokens behind the start."""
    batch: int = 32
    """Rows of a step."""
    rounds: int = 5
    """Steps of each way, after one that is not counted."""
    peak_of: str = ""
    """Only print the rise of the peak of one way, `one-hot` or `embedding`; what the processes for memory are given."""
    target: int = 100
    """Token whose logit is differentiated."""
    seed: int = 0
    """Of the rows."""


def one_hot_step(model: Model, law: ProductTokens, choices_BC: Any, target: int) -> tuple[list[Any], int]:
    """Mean slopes by differentiating one-hot inputs; and the bytes of these and their slopes."""
    import torch

    table_VD = model.network.get_input_embeddings().weight
    onehot_BSV = torch.nn.functional.one_hot(law.tokens(choices_BC), len(table_VD)).float().requires_grad_()
    logits_BV = next_logits(model, {"inputs_embeds": onehot_BSV @ table_VD})
    (slope_BSV,) = torch.autograd.grad(logits_BV[:, target].sum(), onehot_BSV)
    slope_SV = slope_BSV.mean(0)
    found = [slope_V[ids_K] for slope_V, ids_K in zip(slope_SV, law.support, strict=True)]
    return found, 4 * (onehot_BSV.numel() + slope_BSV.numel())


def embedding_step(
    model: Model, law: ProductTokens, choices_BC: Any, target: int, projection: Projection
) -> tuple[list[Any], int]:
    """Mean slopes by differentiating embeddings; and the bytes of these, their slopes and the support's table."""
    import torch

    leaf_BSD = model.network.get_input_embeddings()(law.tokens(choices_BC)).requires_grad_()
    logits_BV = next_logits(model, {"inputs_embeds": leaf_BSD})
    (slope_BSD,) = torch.autograd.grad(logits_BV[:, target].sum(), leaf_BSD)
    found = [slope_K.float() for slope_K in projection.each(slope_BSD.mean(0))]
    table = len(law.support[-1]) * leaf_BSD.shape[-1]
    return found, 4 * (leaf_BSD.numel() + slope_BSD.numel() + table)


def main(speed: Speed) -> int:
    """Time both ways, or measure the memory of one, and print."""
    import torch

    model = load_model(speed.model)
    law = hex_law(model.tokenizer, n_positions=speed.positions)
    projection = Projection(Problem(model=model, inputs=law, event=ArgmaxToken(speed.target)))
    generator = torch.Generator().manual_seed(speed.seed)
    ways = {
        "one-hot": lambda rows_BC: one_hot_step(model, law, rows_BC, speed.target),
        "embedding": lambda rows_BC: embedding_step(model, law, rows_BC, speed.target, projection),
    }
    if speed.peak_of:
        before = forget_peak()
        for _ in range(2):
            ways[speed.peak_of](draw(law, speed.batch, generator=generator))
        print(json.dumps(peak_bytes() - before))
        return 0
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    counted: dict[str, int] = {}
    for number in range(speed.rounds + 1):
        rows_BC, found = draw(law, speed.batch, generator=generator), {}
        for name, step in ways.items():
            start = time.perf_counter()
            found[name], counted[name] = step(rows_BC)
            if number:
                seconds[name].append(time.perf_counter() - start)
        off = max(float((a - b).abs().max()) for a, b in zip(*found.values(), strict=True))
        assert off < 1e-4, f"the two ways differ by {off}"
    for name, took in seconds.items():
        rise = int(subprocess.check_output(command(speed, name)).split()[-1])
        print(
            f"{name:>10}: {speed.batch / np.median(took):6.1f} rows a second, {counted[name] / 2**20:7.1f} MiB of "
            f"inputs and slopes, peak {rise / 2**20:6.0f} MiB above the model"
        )
    ratio = np.array(seconds["one-hot"]) / np.array(seconds["embedding"])
    print(f"gain: {np.median(ratio):.2f} times the rows a second (rounds from {ratio.min():.2f} to {ratio.max():.2f})")
    return 0


def command(speed: Speed, way: str) -> list[str]:
    """This script, to measure the memory of one way."""
    size = ["--positions", str(speed.positions), "--batch", str(speed.batch)]
    return [sys.executable, __file__, "--model", speed.model, *size, "--peak-of", way]


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
