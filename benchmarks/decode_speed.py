"""Decoding sparse codes, and its gradients: ours beside `embedding_bag` and beside a dense product.

.venv/bin/python benchmarks/decode_speed.py

Reconstructions and gradients are compared before anything is timed. `rows read once` copies the decoder rows of all
active pairs: what any way that reads them from memory pays.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tyro
from interleaved import interleaved, table

from bathyscope import runtime
from bathyscope.dictionaries.kernels.decode import decode_pairs, decode_pairs_reference

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Speed:
    """What is decoded."""

    rows: int = 4096
    """N, tokens."""
    n_features: int = 16_384
    """F, features."""
    d_model: int = 576
    """D, width of the reconstructions."""
    k: int = 32
    """Active features per token."""
    rounds: int = 15
    """Rounds of each way."""
    threads: int = 2
    """Threads."""
    seed: int = 0
    """Seed of codes and weights."""


def main(speed: Speed) -> int:
    """Compare, time, print two tables."""
    import torch

    runtime.keep_freed_memory()
    torch.set_num_threads(speed.threads)
    generator = torch.Generator().manual_seed(speed.seed)
    shape = (speed.rows, speed.k)
    scores_NF = torch.rand(speed.rows, speed.n_features, generator=generator)
    indices_NK = scores_NF.topk(speed.k, dim=1).indices.sort(1).values
    values_NK = torch.rand(*shape, generator=generator).requires_grad_()
    W_dec_FD = torch.randn(speed.n_features, speed.d_model, generator=generator).requires_grad_()
    b_dec_D, slope_ND = torch.zeros(speed.d_model), torch.randn(speed.rows, speed.d_model, generator=generator)
    rows_MD = torch.empty(indices_NK.numel(), speed.d_model)

    def dense() -> "Tensor":
        codes_NF = torch.zeros(speed.rows, speed.n_features).scatter(1, indices_NK, values_NK)
        return codes_NF @ W_dec_FD + b_dec_D

    forward: dict[str, Callable[[], Tensor]] = {
        "ours": lambda: decode_pairs(values_NK, indices_NK, W_dec_FD, b_dec_D),
        "embedding_bag": lambda: decode_pairs_reference(values_NK, indices_NK, W_dec_FD, b_dec_D),
        "dense": dense,
    }

    def gradients(way: "Callable[[], Tensor]") -> "tuple[Tensor, ...]":
        return torch.autograd.grad(way(), (values_NK, W_dec_FD), slope_ND)

    for name, way in forward.items():
        pairs = zip((way(), *gradients(way)), (dense(), *gradients(dense)), strict=True)
        if any(float((one - other).detach().norm() / other.detach().norm()) > 1e-5 for one, other in pairs):
            sys.exit(f"error: {name} decodes otherwise than the dense product")
    read = {"rows read once": lambda: torch.index_select(W_dec_FD.detach(), 0, indices_NK.flatten(), out=rows_MD)}
    both = {name: (lambda way=way: gradients(way)) for name, way in forward.items()}
    print(f"{speed.rows:,} tokens, {speed.n_features:,} features, k = {speed.k}, d = {speed.d_model}\n")
    for title, ways in (("Decoding", {**forward, **read}), ("Decoding and gradients", {**both, **read})):
        print(
            f"## {title}\n\n{table(interleaved(ways, rounds=speed.rounds), beside='dense', unit='ms', factor=1000)}\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main(tyro.cli(Speed)))
