"""Shifts of pairs, and what is wrong with them: `δz = z̃ − z`."""

from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError

FLAT = 1e-12
"""A column is constant when its variance is below this share of the mean square of all columns (float32 noise)."""


def differences(z_P2D: Tensor) -> Float[Tensor, "P D"]:
    """`after − before` of both vectors of each pair.

    Raises ConfigError for anything but [P, 2, D]: rows of a matrix [N, D] are not silently taken as consecutive pairs.
    """
    if z_P2D.ndim != 3 or z_P2D.shape[1] != 2:
        shape = list(z_P2D.shape)
        matrix = " (a matrix does not say which rows belong together; stack both sides: torch.stack([z, z_tilde], 1))"
        raise ConfigError(
            f"activations of pairs have shape {shape}, expected [P, 2, D]{matrix if len(shape) == 2 else ''}"
        )
    return z_P2D[:, 1] - z_P2D[:, 0]


def shift_warnings(shifts_PD: Float[Tensor, "P D"], *, where: str) -> list[str]:
    """Pairs that do not move, equal shifts, constant columns; one line each. Raises ConfigError when nothing moves."""
    if not bool(shifts_PD.any()):
        raise ConfigError(
            f"{where}: every shift is zero, both sides have the same activation at the token that is read; read "
            "another position or a later hookpoint"
        )
    said: list[str] = []
    n_still = int((shifts_PD == 0).all(dim=1).sum())
    if n_still:
        said.append(f"{where}: {n_still} of {len(shifts_PD)} pairs do not move")
    squares = shifts_PD.double().square().mean()
    flat_D = shifts_PD.double().var(dim=0, correction=0) <= FLAT * squares
    n_flat = int(flat_D.sum())
    if len(shifts_PD) > 1 and n_flat == len(flat_D):
        said.append(f"{where}: all shifts are equal, so nothing can be told apart")
    elif len(shifts_PD) > 1 and n_flat:
        first = int(flat_D.nonzero()[0])
        said.append(f"{where}: {n_flat} of {len(flat_D)} columns of the shifts are constant, such as column {first}")
    rank = min(shifts_PD.shape)
    if len(shifts_PD) < shifts_PD.shape[1]:
        said.append(f"{where}: {len(shifts_PD)} pairs in {shifts_PD.shape[1]} dimensions: shifts span at most {rank}")
    return said


def sink_warnings(z_P2D: Float[Tensor, "P 2 D"], *, multiple: float, where: str) -> list[str]:
    """One line when vectors that were read have a norm above `multiple` times the median (sinks; 0: never)."""
    norms_N = z_P2D.flatten(0, 1).norm(dim=1)
    n_sinks = int((norms_N > multiple * norms_N.median()).sum()) if multiple else 0
    if not n_sinks:
        return []
    return [f"{where}: {n_sinks} of {len(norms_N)} vectors are {multiple:g} times longer than usual (attention sinks?)"]
