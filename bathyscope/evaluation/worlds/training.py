"""A world's network, trained from its start weights with AdamW: checkpoints, metrics, the same bytes after a break.

Learning rate: rises over the first 50 steps, then falls to 0 along a cosine. Matrices decay, biases and gains do not.
Knows nothing of what is learnt.
"""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bathyscope import progress
from bathyscope.artifacts import Draft
from bathyscope.dictionaries.checkpoint import METRICS
from bathyscope.dictionaries.optimiser_state import restore_step, save_step
from bathyscope.errors import ConfigError

WARM_UP = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """How many steps, and how large."""

    n_steps: int
    """Steps of AdamW."""
    lr: float
    """Highest learning rate."""
    weight_decay: float
    """Decay of matrices."""
    checkpoint_every: int
    """Steps between checkpoints and lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        if min(self.n_steps, self.checkpoint_every) < 1:
            raise ConfigError("n_steps and checkpoint_every are at least 1")
        if self.lr <= 0 or self.weight_decay < 0:
            raise ConfigError(f"lr is {self.lr} and weight_decay {self.weight_decay}: expected a positive lr")


def train_network(
    network: nn.Module,
    schedule: Schedule,
    *,
    loss: Callable[[int], Tensor],
    figures: Callable[[], Mapping[str, float]],
    stage: str,
    work: Draft,
) -> None:
    """Take the steps that are left, from the draft's last checkpoint on.

    `loss` is asked for the loss of each step and must follow from its number alone; `figures`, besides the loss, go
    into every line of metrics.
    """
    named = dict(network.named_parameters())
    groups = [
        {"params": [p for p in named.values() if p.ndim > 1], "weight_decay": schedule.weight_decay},
        {"params": [p for p in named.values() if p.ndim < 2], "weight_decay": 0.0},
    ]
    adam = torch.optim.AdamW(groups, lr=schedule.lr, betas=(0.9, 0.98))
    for step in range(restore_step(work, named, adam), schedule.n_steps):
        for group in adam.param_groups:
            group["lr"] = schedule.lr * _share_of_rate(step, schedule.n_steps)
        own = loss(step)
        adam.zero_grad()
        own.backward()
        nn.utils.clip_grad_norm_(named.values(), 1.0)
        adam.step()
        done = step + 1
        if done % schedule.checkpoint_every == 0 or done == schedule.n_steps:
            line = {"loss": float(own.detach()), **figures()}
            with (work.path / METRICS).open("a") as file:
                file.write(json.dumps({"step": done, **line}) + "\n")
            progress.report(stage, done, schedule.n_steps, "steps", **line)
            save_step(work, named, adam, step=done)


def slice_of_pass(step: int, *, n: int, size: int, order: Callable[[int], Tensor]) -> Tensor:
    """Which of `n` things the batch of a step holds: a slice of its pass's own order, so nothing needs remembering.

    `order` gives the random order of a pass from its number. Every thing comes once before any of them again.
    """
    size = min(size, n)
    n_per_pass = n // size
    first = step % n_per_pass * size
    return order(step // n_per_pass)[first : first + size]


def _share_of_rate(step: int, n_steps: int) -> float:
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * step / n_steps))
