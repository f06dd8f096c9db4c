"""Small operands for the Triton kernels, and how a test reaches these: interpreted on a CPU, or compiled on a GPU."""

import contextlib
import os
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from bathyscope.dictionaries.kernels import engine, select

N, D, F, K = 9, 20, 300, 5
DEVICE = "cuda" if os.environ["TRITON_INTERPRET"] == "0" else "cpu"


@contextlib.contextmanager
def on_triton(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Tensors go to Triton: those of a CPU too, where it interprets."""
    import triton

    assert triton.knobs.runtime.interpret == (DEVICE == "cpu")
    monkeypatch.setattr(engine, "TRITON_DEVICES", (DEVICE,))
    with contextlib.nullcontext() if DEVICE == "cpu" else torch.device(DEVICE):
        yield


@contextlib.contextmanager
def compiled_for_a_cpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(engine, "TRITON_DEVICES", ())
    with torch.device("cpu"):
        yield


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator("cpu").manual_seed(seed), device="cpu").to(DEVICE)


def leaf(*shape: int, seed: int, offset: float = 0.0) -> Tensor:
    return (draw(*shape, seed=seed) + offset).requires_grad_()


def encoder_leaves(offset: float = 0.0) -> list[Tensor]:
    return [leaf(N, D, seed=0), leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3, offset=offset)]


def by_column(pairs: select.Pairs) -> tuple[Tensor, Tensor]:
    order = pairs.indices_NK.argsort(dim=1)
    return pairs.values_NK.gather(1, order), pairs.indices_NK.gather(1, order)


def gradients(outcome: Tensor, leaves: list[Tensor]) -> list[Tensor]:
    return list(torch.autograd.grad(outcome, leaves, retain_graph=True))


def close(found, wanted) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)


def some_features() -> Tensor:
    return torch.stack(
        [torch.randperm(F, generator=torch.Generator("cpu").manual_seed(n), device="cpu")[:K] for n in range(N)]
    ).to(DEVICE)
