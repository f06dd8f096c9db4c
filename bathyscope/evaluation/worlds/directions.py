"""Directions that are as far from each other as their number allows."""

import torch
from jaxtyping import Float
from torch import Tensor

CHUNK = 4096
"""Rows of the matrix of cosines that are held at once."""


def spread_directions(
    n: int, d_model: int, *, n_steps: int, generator: torch.Generator, device: str = "cpu"
) -> Float[Tensor, "G D"]:
    """Unit directions, random, then pushed apart by gradient steps on the fourth power of their cosines.

    The fourth power weighs the closest pairs most. `n ≤ d_model` becomes nearly orthogonal; beyond that the closest
    neighbours end near the least possible cosine. Cost: 4·n²·d_model FLOP per step.
    """
    directions_GD = torch.randn(n, d_model, generator=generator).to(device)
    directions_GD /= directions_GD.norm(dim=1, keepdim=True)
    if n_steps == 0:
        return directions_GD
    free_GD = directions_GD.clone().requires_grad_()
    adam = torch.optim.Adam([free_GD], lr=0.2 / d_model**0.5, fused=True)
    for _ in range(n_steps):
        free_GD.grad = _crowding_slope(free_GD.detach())
        adam.step()
        with torch.no_grad():
            free_GD /= free_GD.norm(dim=1, keepdim=True)
    return free_GD.detach()


def _crowding_slope(unit_GD: Tensor) -> Tensor:
    """Gradient of `Σ_{i<j} cos⁴(i, j)` along the sphere, a chunk of rows at a time."""
    slope_GD = torch.empty_like(unit_GD)
    for first in range(0, len(unit_GD), CHUNK):
        rows = slice(first, min(first + CHUNK, len(unit_GD)))
        cosines = unit_GD[rows] @ unit_GD.T
        cosines[torch.arange(len(cosines)), torch.arange(rows.start, rows.stop)] = 0
        slope = 4 * cosines.pow(3) @ unit_GD
        slope_GD[rows] = slope - (slope * unit_GD[rows]).sum(1, keepdim=True) * unit_GD[rows]
    return slope_GD
