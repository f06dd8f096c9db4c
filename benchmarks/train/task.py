"""What a contender is asked to do, as plain data that crosses from one environment to another as JSON.

Read by every contender's own Python: nothing but the standard library is imported here.
"""

from dataclasses import dataclass
from typing import Literal

Kind = Literal["topk", "batchtopk", "l1", "jumprelu"]
"""l1 is ReLU with an L1 penalty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One dictionary to train."""

    kind: Kind
    """What is learnt."""
    d_model: int
    """D, width of the activations."""
    n_features: int
    """F, number of features."""
    k: int
    """Features per token of topk and batchtopk."""
    l0: int
    """Features per token at which l1 and jumprelu begin, where the contender's time depends on it."""
    batch: int
    """Tokens per step."""
    n_steps: int
    """Steps of the run that schedules refer to."""
    seed: int
    """Seed of the weights at the start."""
    rows: str
    """A safetensors file whose tensor `x` [N, D] holds the activations, in the order of training."""
    threads: int
    """Threads of the arithmetic."""
