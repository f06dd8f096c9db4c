"""Choosing the k largest per token, and the k·N largest of a batch: ours beside `torch.topk` and `flatten().topk`.

.venv/bin/python benchmarks/select_speed.py

Choices are compared before anything is timed: the same entries, ties aside. Ours chooses while it encodes, a few rows
at a time, so encoding and choosing together are timed too, beside the encoder's product alone.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro
from interleaved import interleaved, table

from bathyscope import runtime
from bathyscope.dictionaries.kernels.above import select_batch, select_batch_reference
from bathyscope.dictionaries.kernels.encode import encode_largest, encode_largest_reference
from bathyscope.dictionaries.kernels.select import Pairs, select_largest_compiled

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is chosen from."""

    rows: int = 4096
    """N, tokens."""
    n_features: int = 16_384
    """F, features."""
    d_model: int = 576
    """D, width of the activations."""
    k: int = 32
    """Features kept per token."""
    rounds: int = 15
    """Rounds of each way."""
    threads: int = 2
    """Threads."""
    seed: int = 0
    """Seed of activations and weights."""


def main(speed: Speed) -> int:
    """Compare, time, print three tables."""
    import torch

    runtime.keep_freed_memory()
    torch.set_num_threads(speed.threads)
    generator = torch.Generator().manual_seed(speed.seed)
    x_ND = torch.randn(speed.rows, speed.d_model, generator=generator)
    W_enc_FD = torch.randn(speed.n_features, speed.d_model, generator=generator) / speed.d_model**0.5
    b_pre_D, b_enc_F = torch.zeros(speed.d_model), torch.zeros(speed.n_features)
    pre_NF, k, n_keep = x_ND @ W_enc_FD.T, speed.k, speed.k * speed.rows
    buffer_NF, weights = torch.empty_like(pre_NF), (b_pre_D, W_enc_FD, b_enc_F)
    product = {"the product alone": lambda: torch.mm(x_ND, W_enc_FD.T, out=buffer_NF)}
    per_token: dict[str, Callable[[], object]] = {
        "ours": lambda: select_largest_compiled(pre_NF, None, k),
        "torch.topk": lambda: pre_NF.topk(k, dim=1),
        "torch.topk, unsorted": lambda: pre_NF.topk(k, dim=1, sorted=False),
        "one look at every entry (amax)": lambda: pre_NF.amax(1),
    }
    encoding: dict[str, Callable[[], object]] = {
        "ours": lambda: encode_largest(x_ND, *weights, k),
        "product and torch.topk": lambda: encode_largest_reference(x_ND, *weights, k),
        **product,
    }
    of_batch: dict[str, Callable[[], object]] = {
        "ours": lambda: select_batch(x_ND, *weights, n_keep),
        "product and flatten().topk": lambda: select_batch_reference(x_ND, *weights, n_keep),
        **product,
    }
    chosen = Pairs(*pre_NF.topk(k, dim=1))
    require_equal("per token", select_largest_compiled(pre_NF, None, k), chosen)
    require_equal("encoding", encode_largest(x_ND, *weights, k), chosen)
    require_equal("batch", select_batch(x_ND, *weights, n_keep), select_batch_reference(x_ND, *weights, n_keep))
    print(f"{speed.rows:,} × {speed.n_features:,}, k = {k}, d = {speed.d_model}, {speed.threads} threads\n")
    for title, ways, beside in (
        ("The k largest of each row", per_token, "torch.topk"),
        ("The same with the encoder's product", encoding, "product and torch.topk"),
        ("The k·N largest of all, with the encoder's product", of_batch, "product and flatten().topk"),
    ):
        print(f"## {title}\n\n{table(interleaved(ways, rounds=speed.rounds), beside=beside, unit='ms', factor=1000)}\n")
    return 0


def require_equal(what: str, ours: Pairs, reference: Pairs) -> None:
    """Exit where kept values differ: as sorted lists, so that equal entries may be exchanged."""
    one, other = _sorted(ours), _sorted(reference)
    if len(one) != len(other) or not bool((one - other).abs().max() <= 1e-4):
        sys.exit(f"error: {what}: what is kept differs")


def _sorted(pairs: Pairs) -> "Tensor":
    """Positive values."""
    values = pairs.values_NK.relu().flatten()
    return values[values > 0].sort().values


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
