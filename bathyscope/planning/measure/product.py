"""Dense matrix products at the shapes that training and small models make."""

import torch

from bathyscope.planning.measure.clock import seconds_of

SHAPES = ((1024, 576, 4096), (2048, 576, 1536), (2048, 1024, 1024))
"""(N, D, F): the encoder of a dictionary, an MLP of SmolLM2, a square."""


def product_rate(*, rounds: int) -> float:
    """FLOP/s over all shapes together."""
    outs = {shape: torch.empty(shape[0], shape[2]) for shape in SHAPES}
    pairs = {shape: (torch.randn(shape[:2]), torch.randn(shape[2], shape[1])) for shape in SHAPES}

    def product(shape: tuple[int, int, int]) -> None:
        x_ND, W_FD = pairs[shape]
        torch.mm(x_ND, W_FD.T, out=outs[shape])

    calls = {str(shape): (lambda shape=shape: product(shape)) for shape in SHAPES}
    spent = seconds_of(calls, rounds=rounds)
    return sum(2 * n * d * f for n, d, f in SHAPES) / sum(spent.values())
