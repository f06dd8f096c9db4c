"""What moves when one learnt latent moves: the images whose codes differ in that latent alone.

The encoder has no decoder, so the world's renderer takes its place: factors z are sought with f(render(z)) equal to the
code that is wanted (Levenberg-Marquardt from the scene as it is). Nothing is told of which factor a latent stands for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

N_STEPS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Walk:
    """A walk along one latent."""

    factors_KZ: Float[Tensor, "K Z"]
    """Factors of the scenes found, one for each place along the latent."""
    missed: float
    """Largest distance between a code wanted and the code of the scene found, in units of the walk's length."""

    @property
    def share_of_largest(self) -> float:
        """Share of the factors' movement (variance along the walk) that lies in the factor that moves most."""
        moved_Z = self.factors_KZ.double().var(0, correction=0)
        return float(moved_Z.max() / moved_Z.sum().clamp_min(1e-30))


def walk(
    encode: Callable[[Tensor], Tensor],
    render: Callable[[Tensor], Tensor],
    factors_Z: Float[Tensor, " Z"],
    *,
    latent: int,
    distances_K: Float[Tensor, " K"],
) -> Walk:
    """Scenes whose codes are that of `factors_Z` with `latent` moved by each of `distances_K`, the others held."""
    code = _Code(encode, render)
    with torch.no_grad():
        begin_F = code(factors_Z)
    found: list[Tensor] = []
    missed = 0.0
    for distance in distances_K.tolist():
        wanted_F = begin_F.clone()
        wanted_F[latent] += distance
        factors, error = _solved(code, found[-1] if found else factors_Z, wanted_F)
        found.append(factors)
        missed = max(missed, error)
    length = float(distances_K.abs().max())
    return Walk(factors_KZ=torch.stack(found), missed=missed / max(length, 1e-30))


@dataclass(frozen=True, slots=True)
class _Code:
    """Factors of a scene → its code."""

    encode: Callable[[Tensor], Tensor]
    render: Callable[[Tensor], Tensor]

    def __call__(self, factors_Z: Tensor) -> Tensor:
        return self.encode(self.render(factors_Z[None]))[0]


def _solved(code: _Code, start_Z: Tensor, wanted_F: Tensor) -> tuple[Tensor, float]:
    """Factors whose code is nearest to the wanted one, and how far it still is."""
    here_Z, damping = start_Z, 1e-3
    error_F = (wanted_F - code(here_Z)).detach()
    for _ in range(N_STEPS):
        jacobian_FZ = torch.autograd.functional.jacobian(code, here_Z)
        assert isinstance(jacobian_FZ, Tensor)
        normal_ZZ = jacobian_FZ.T @ jacobian_FZ
        scale = normal_ZZ.diagonal().mean() + 1e-12
        step_Z = torch.linalg.solve(normal_ZZ + damping * scale * torch.eye(len(here_Z)), jacobian_FZ.T @ error_F)
        step_Z = step_Z * min(1.0, 0.1 / max(float(step_Z.norm()), 1e-30))
        with torch.no_grad():
            next_F = wanted_F - code(here_Z + step_Z)
        if float(next_F.norm()) < float(error_F.norm()):
            here_Z, error_F, damping = here_Z + step_Z, next_F, damping / 4
        else:
            damping = damping * 10
    return here_Z.detach(), float(error_F.norm())
