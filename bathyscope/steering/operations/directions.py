"""Directions as operations take them: rows, not zero, of one width."""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError


def require_direction(direction_D: object, *, name: str = "a direction") -> None:
    """Raise ConfigError unless it is one finite vector of some length."""
    if not isinstance(direction_D, Tensor):
        raise ConfigError(f"{name} is one non-zero, finite vector [D], found a {type(direction_D).__name__}")
    if direction_D.ndim != 1:
        raise ConfigError(f"{name} is one non-zero, finite vector [D], found shape {tuple(direction_D.shape)}")
    wide_D = direction_D.float()
    if not bool(wide_D.isfinite().all()) or not bool(wide_D.norm() > 0):
        found = "zeros alone" if bool(wide_D.isfinite().all()) else "values that are not finite"
        raise ConfigError(f"{name} is one non-zero, finite vector [D], found {found}")


def unit(direction_D: Float[Tensor, " D"], like: Tensor) -> Float[Tensor, " D"]:
    """The direction with length 1, float32, where `like` is."""
    wide_D = direction_D.float()
    return (wide_D / wide_D.norm()).to(like.device)


def orthonormal(directions_MD: Float[Tensor, "M D"]) -> Float[Tensor, "R D"]:
    """An orthonormal basis of what the rows span (R = their rank)."""
    _, sizes, rows = torch.linalg.svd(directions_MD.double(), full_matrices=False)
    return rows[sizes > 1e-6 * sizes.max()].float()
