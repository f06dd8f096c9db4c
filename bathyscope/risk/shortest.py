"""The shortest vector that satisfies every row of `G z ≥ h`: the likeliest activation that shows an event.

Least-distance programming by non-negative least squares (Lawson and Hanson 1974, ch. 23): with E = [Gᵀ; hᵀ] and
f = (0, …, 0, 1), u = argmin_{u ≥ 0} ‖Eu - f‖ and r = Eu - f, the vector is z = -r_{1..d} / r_{d+1}. At most d rows hold
it, so rows are taken in as they are violated.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import NDArray

Array = NDArray[np.float64]

FIRST, MORE = 64, 64
"""Rows to begin with, and most rows taken in per round."""
SLACK = 1e-7
"""Violation that counts as none, relative to the length of the solution, for rows of length 1."""
FARTHEST = 1e5
"""A vector longer than this is taken for none."""
MOST_ROUNDS = 100


class Shortest(NamedTuple):
    """The solution, or the lack of one."""

    z_D: Float[Array, " D"] | None
    """The shortest vector; 0 where 0 is allowed; None where nothing within 1e5 is."""
    rows_A: Int[NDArray[np.int64], " A"]
    """Numbers of the rows of G that hold it."""
    n_rounds: int
    """Least-squares problems solved."""
    n_rows: int
    """Rows that the last of them held."""


def shortest(G_JD: Float[Array, "J D"], h_J: Float[Array, " J"]) -> Shortest:
    """argmin ‖z‖ subject to `G z ≥ h`; a row of zeros is satisfied or makes it impossible."""
    nobody = np.zeros(0, dtype=np.int64)
    if (h_J <= 0).all():
        return Shortest(np.zeros(G_JD.shape[1]), nobody, 0, 0)
    length_J = np.linalg.norm(G_JD, axis=1)
    flat_J = length_J <= 1e-12 * length_J.max()
    if (h_J[flat_J] > 0).any():
        return Shortest(None, nobody, 0, 0)
    length_J[flat_J] = 1.0
    G_JD, h_J = G_JD / length_J[:, None], h_J / length_J
    held_A = np.argsort(-h_J, kind="stable")[:FIRST]
    for n_rounds in range(1, MOST_ROUNDS + 1):
        found = _least_distance(G_JD[held_A], h_J[held_A])
        if found is None:
            return Shortest(None, nobody, n_rounds, len(held_A))
        z_D, share_A = found
        lack_J = h_J - G_JD @ z_D
        violated = np.flatnonzero(lack_J > SLACK * max(1.0, float(np.linalg.norm(z_D))))
        violated = violated[~np.isin(violated, held_A)]
        if not len(violated):
            return Shortest(z_D, held_A[share_A > 0], n_rounds, len(held_A))
        worst = violated[np.argsort(-lack_J[violated], kind="stable")[:MORE]]
        held_A = np.concatenate([held_A, worst])
    raise AssertionError("rows are taken in once each, 64 at a time: the rounds end")


def _least_distance(G_AD: Array, h_A: Array) -> tuple[Float[Array, " D"], Float[Array, " A"]] | None:
    """The shortest vector for these rows and each row's multiplier, or None where it is longer than 1e5."""
    from scipy.optimize import nnls

    wanted = np.zeros(G_AD.shape[1] + 1)
    wanted[-1] = 1
    E = np.vstack([G_AD.T, h_A])
    share_A, length = nnls(E, wanted, maxiter=10 * (len(h_A) + len(wanted)))
    if length < 1 / FARTHEST:  # ‖r‖² = 1 / (1 + ‖z‖²)
        return None
    rest = E @ share_A - wanted
    return -rest[:-1] / rest[-1], share_A
