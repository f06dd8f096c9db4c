"""Spherical harmonics on the unit sphere S³ of four dimensions, and multiplication by the indicator of a half-space.

With x = (cos χ, sin χ ω), ω on S²:  Y_njm(x) ∝ sin^j χ · C^(j+1)_(n-j)(cos χ) · Y_jm(ω),  |m| ≤ j ≤ n, C Gegenbauer's
polynomials. They are orthonormal for the uniform law on S³ (total mass 1), and Y_0 is 1. Degree n has (n + 1)² of them.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from bathyscope.errors import ConfigError


def n_harmonics(degree: int) -> int:
    """How many harmonics have at most this degree: 1, 5, 14, 30, 55, 91, 140, …"""
    return (degree + 1) * (degree + 2) * (2 * degree + 3) // 6


@dataclass(frozen=True)
class Harmonics:
    """All K harmonics up to a degree, by degree n, then j, then m from -j to j."""

    degree: int
    """Largest degree, at least 0."""

    def __post_init__(self) -> None:
        if self.degree < 0:
            raise ConfigError(f"degree is {self.degree}; expected 0 or more")

    @cached_property
    def indices_K3(self) -> Int[np.ndarray, "K 3"]:
        """n, j and m of each harmonic."""
        degrees = range(self.degree + 1)
        return np.array([(n, j, m) for n in degrees for j in range(n + 1) for m in range(-j, j + 1)])

    def __call__(self, x_N4: Float[np.ndarray, "N 4"]) -> Float[np.ndarray, "N K"]:
        """Values at unit vectors."""
        radial, solid = _radial(x_N4[:, 0], self.degree), _solid(x_N4[:, 1:], self.degree)
        return np.stack([radial[n, j] * solid[j, m] for n, j, m in self.indices_K3.tolist()], axis=1)

    @cached_property
    def pole_KK(self) -> Float[np.ndarray, "K K"]:
        """∫ Y_a 1[x_1 > 0] Y_b, exact to rounding; zero unless j and m agree. Gauss-Legendre over χ from 0 to π/2."""
        nodes, weights = np.polynomial.legendre.leggauss(2 * self.degree + 32)
        chi = (nodes + 1) * math.pi / 4
        radial, weights = _radial(np.cos(chi), self.degree), weights * np.sin(chi) ** 2 / 2
        _, j_K, m_K = self.indices_K3.T
        found_KK = np.zeros((len(j_K), len(j_K)))
        for j in range(self.degree + 1):
            block = np.stack([radial[n, j] * np.sin(chi) ** j for n in range(j, self.degree + 1)])
            inner = (block * weights) @ block.T
            for m in range(-j, j + 1):
                rows = np.flatnonzero((j_K == j) & (m_K == m))
                found_KK[np.ix_(rows, rows)] = inner
        return found_KK

    @cached_property
    def _points_Q4(self) -> Float[np.ndarray, "Q 4"]:
        """Twice as many points as the largest degree has harmonics; any in general position do."""
        points_Q4 = np.random.default_rng(0).standard_normal((2 * (self.degree + 1) ** 2, 4))
        return points_Q4 / np.linalg.norm(points_Q4, axis=1, keepdims=True)

    @cached_property
    def _inverses(self) -> list[Float[np.ndarray, "_ Q"]]:
        """For each degree, what turns values at the points into coefficients."""
        values_QK = self(self._points_Q4)
        return [np.linalg.pinv(values_QK[:, self.of_degree(n)]) for n in range(self.degree + 1)]

    def of_degree(self, n: int) -> slice:
        """Where the harmonics of exactly this degree stand."""
        return slice(n_harmonics(n - 1), n_harmonics(n))

    def reflections(self, w_J4: Float[np.ndarray, "J 4"]) -> list[Float[np.ndarray, "J _ _"]]:
        """For each degree the symmetric orthogonal matrices R with Y(H x) = R Y(x); H is the reflection of w to e_1.

        A degree's harmonics go into one another, so R is found from their values at a few points.
        """
        unit_J4 = w_J4 / np.linalg.norm(w_J4, axis=1, keepdims=True)
        v_J4 = unit_J4 - np.eye(4)[0]
        v_J4 /= np.maximum(np.linalg.norm(v_J4, axis=1, keepdims=True), np.finfo(float).tiny)
        seen_JQ4 = self._points_Q4 - 2 * (self._points_Q4 @ v_J4.T).T[:, :, None] * v_J4[:, None]
        values_JQK = self(seen_JQ4.reshape(-1, 4)).reshape(*seen_JQ4.shape[:2], -1)
        return [inverse @ values_JQK[:, :, self.of_degree(n)] for n, inverse in enumerate(self._inverses)]


def _radial(t_N: Float[np.ndarray, " N"], degree: int) -> dict[tuple[int, int], Float[np.ndarray, " N"]]:
    """(n, j) → C^(j+1)_(n-j)(t), scaled so that the mean square of the harmonic is 1."""
    found: dict[tuple[int, int], Float[np.ndarray, " N"]] = {}
    for j in range(degree + 1):
        before, now = np.zeros_like(t_N), np.ones_like(t_N)
        for n in range(j, degree + 1):
            square = math.factorial(n + j + 1) / (math.factorial(n - j) * (n + 1) * math.factorial(j) ** 2 * 4**j)
            found[n, j] = now / math.sqrt(square)
            k = n - j + 1
            before, now = now, (2 * (k + j) * t_N * now - (k + 2 * j) * before) / k
    return found


def _solid(y_N3: Float[np.ndarray, "N 3"], degree: int) -> dict[tuple[int, int], Float[np.ndarray, " N"]]:
    """(j, m) → |y|^j Y_jm(y/|y|), real, with mean square 1 on the unit sphere of three dimensions."""
    z_N, square_N = y_N3[:, 2], (y_N3**2).sum(1)
    real_N, imaginary_N = np.ones_like(z_N), np.zeros_like(z_N)  # of (y_1 + i y_2)^m
    found: dict[tuple[int, int], Float[np.ndarray, " N"]] = {}
    for m in range(degree + 1):
        before, now = np.zeros_like(z_N), np.full_like(z_N, float(math.prod(range(1, 2 * m, 2))))
        for j in range(m, degree + 1):
            ratio = math.factorial(j - m) / math.factorial(j + m)
            scale = math.sqrt((2 * j + 1) * ratio * (1 if m == 0 else 2))
            found[j, m] = scale * now * real_N
            if m > 0:
                found[j, -m] = scale * now * imaginary_N
            before, now = now, ((2 * j + 1) * z_N * now - (j + m) * square_N * before) / (j + 1 - m)
        real_N, imaginary_N = (
            real_N * y_N3[:, 0] - imaginary_N * y_N3[:, 1],
            real_N * y_N3[:, 1] + imaginary_N * y_N3[:, 0],
        )
    return found
