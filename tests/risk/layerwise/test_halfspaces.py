"""Harmonics are orthonormal, cells have their exact probabilities, and few coefficients beat as many samples."""

import dataclasses
import math

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.scores import Score
from bathyscope.risk.layerwise.halfspace_study import (
    ANY,
    ERROR,
    LOWEST,
    SAMPLES,
    SLOPE,
    HalfspaceCase,
    study_halfspaces,
)
from bathyscope.risk.layerwise.halfspaces import (
    cascade,
    exact_probability,
    generic,
    inner_point,
    mean_square,
    share_not_empty,
    size_biased,
    spread,
)
from bathyscope.risk.layerwise.harmonics import Harmonics, n_harmonics


def sphere_rule(n):
    """Points and weights on S³: Gauss-Chebyshev of the second kind × Gauss-Legendre × even angles."""
    chi = np.arange(1, n + 1) * math.pi / (n + 1)
    t, u = np.polynomial.legendre.leggauss(n)
    phi = np.arange(2 * n) * math.pi / n
    c, z, p = np.meshgrid(chi, t, phi, indexing="ij")
    weights = (np.sin(c) ** 2 * 2 / (n + 1)) * np.broadcast_to(u[:, None], c.shape) / 2 / (2 * n)
    r = np.sqrt(1 - z**2)
    points = np.stack([np.cos(c), np.sin(c) * r * np.cos(p), np.sin(c) * r * np.sin(p), np.sin(c) * z], -1)
    return points.reshape(-1, 4), weights.ravel()


def test_harmonics_are_orthonormal():
    points, weights = sphere_rule(8)
    values = Harmonics(5)(points)
    np.testing.assert_allclose((values * weights[:, None]).T @ values, np.eye(n_harmonics(5)), atol=1e-12)


def test_there_are_as_many_as_there_should_be():
    assert [n_harmonics(degree) for degree in range(-1, 5)] == [0, 1, 5, 14, 30, 55]
    assert len(Harmonics(4).indices_K3) == 55


def test_the_sum_of_squares_of_a_degree_is_its_number_everywhere():
    """The addition theorem: Σ Y² over degree n is (n + 1)²."""
    points = np.random.default_rng(0).standard_normal((5, 4))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    harmonics = Harmonics(6)
    values = harmonics(points)
    for n in range(7):
        np.testing.assert_allclose((values[:, harmonics.of_degree(n)] ** 2).sum(1), (n + 1) ** 2)


def test_the_matrix_of_a_half_space_is_that_of_a_fine_rule():
    points, weights = sphere_rule(32)
    values = Harmonics(3)(points)
    weights = weights * ((points[:, 0] > 1e-9) + 0.5 * (abs(points[:, 0]) <= 1e-9))
    np.testing.assert_allclose(Harmonics(3).pole_KK, (values * weights[:, None]).T @ values, atol=5e-3)


def test_a_half_space_and_its_opposite_make_the_whole():
    """P(x) + P(-x) = 1: between degrees of the same parity the matrix is half the identity."""
    harmonics = Harmonics(6)
    n_K = harmonics.indices_K3[:, 0]
    same = (n_K[:, None] + n_K) % 2 == 0
    np.testing.assert_allclose(harmonics.pole_KK[same], (np.eye(len(n_K)) / 2)[same], atol=1e-12)


def test_reflections_turn_the_row_to_the_pole():
    harmonics, rng = Harmonics(4), np.random.default_rng(0)
    w_J4, x_N4 = rng.standard_normal((3, 4)), rng.standard_normal((6, 4))
    x_N4 /= np.linalg.norm(x_N4, axis=1, keepdims=True)
    turns = harmonics.reflections(w_J4)
    for row, w_4 in enumerate(w_J4):
        v_4 = w_4 / np.linalg.norm(w_4) - np.eye(4)[0]
        H_44 = np.eye(4) - 2 * np.outer(v_4, v_4) / (v_4 @ v_4)
        np.testing.assert_allclose(H_44 @ w_4, np.linalg.norm(w_4) * np.eye(4)[0], atol=1e-12)
        for n in range(5):
            part = harmonics.of_degree(n)
            np.testing.assert_allclose(
                harmonics(x_N4 @ H_44)[:, part], harmonics(x_N4)[:, part] @ turns[n][row], atol=1e-10
            )


def test_one_and_two_half_spaces_have_the_share_of_their_angle():
    """P(w_1 x > 0, w_2 x > 0) = (π - θ)/2π; one coefficient gives a half for each row."""
    W_J4 = np.array([[1.0, 0, 0, 0], [1.0, 2.0, 0, 0]])
    theta = math.acos(1 / math.sqrt(5))
    assert math.isclose(exact_probability(W_J4), (math.pi - theta) / (2 * math.pi), rel_tol=1e-3)
    harmonics = Harmonics(12)
    n_K = harmonics.indices_K3[:, 0]
    found_V = cascade(harmonics, W_J4, np.stack([n_K <= 0, n_K <= 12]))
    assert math.isclose(found_V[0], 0.25, rel_tol=1e-9)
    assert math.isclose(found_V[1], (math.pi - theta) / (2 * math.pi), rel_tol=2e-3)


def test_a_row_at_the_pole_is_no_special_case():
    W_J4 = np.eye(4)[:1]
    np.testing.assert_allclose(cascade(Harmonics(2), W_J4, np.ones((1, 14), dtype=bool)), [0.5])
    assert math.isclose(exact_probability(np.eye(4)), 1 / 16, rel_tol=1e-3)


def test_exact_probabilities_are_those_of_sampling():
    rng = np.random.default_rng(0)
    x_N4 = rng.standard_normal((200_000, 4))
    for _ in range(5):
        W_J4 = size_biased(6, rng)
        share = (x_N4 @ W_J4.T > 0).all(1).mean()
        assert abs(exact_probability(W_J4) - share) < 5 * math.sqrt(share / len(x_N4)) + 1e-3 * share


def test_empty_cells_have_no_inner_point():
    W_J4 = np.random.default_rng(0).standard_normal((3, 4))
    assert inner_point(np.vstack([W_J4, -W_J4[:1]])) is None
    assert exact_probability(np.vstack([W_J4, -W_J4[:1]])) == 0
    x_4 = inner_point(W_J4)
    assert (W_J4 @ x_4 > 0).all()


def test_as_many_cells_are_empty_as_wendel_says():
    rng = np.random.default_rng(0)
    found = np.mean([exact_probability(generic(6, rng)) > 0 for _ in range(60)])
    expected = share_not_empty(6)
    assert expected == 2 * (1 + 5 + 10 + 10) / 64
    assert abs(found - expected) < 4 * math.sqrt(expected * (1 - expected) / 60)


def test_the_exact_moments_of_sixteen_rows():
    assert share_not_empty(16) * 2**16 == 1152
    assert math.isclose(mean_square(16), 9.458e-8, rel_tol=1e-4)
    assert math.isclose(mean_square(1), 0.25, rel_tol=1e-6)


def test_directions_are_evenly_spread():
    points_N3 = spread(500)
    np.testing.assert_allclose(np.linalg.norm(points_N3, axis=1), 1)
    np.testing.assert_allclose(points_N3.T @ points_N3 / 500, np.eye(3) / 3, atol=2e-3)


def test_a_choice_without_the_constant_is_refused():
    with pytest.raises(ConfigError, match="leaves out the constant"):
        cascade(Harmonics(1), np.eye(4), np.array([[False, True, True, True, True]]))


def test_a_negative_degree_is_refused():
    with pytest.raises(ConfigError, match="degree is -1"):
        Harmonics(-1)


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], Score]:
    case = HalfspaceCase(n_rows=6, n_matrices=25, degrees=(0, 2, 4, 6), slope_from=2)
    return {(row.subject, row.metric): row for row in study_halfspaces(case, seed=0)}


def test_the_lowest_degrees_beat_as_many_of_any(rows):
    lowest, chance = (rows[f"{name}, K = 55", ERROR] for name in (LOWEST, ANY))
    assert lowest.high < chance.low


def test_all_coefficients_are_the_same_choice(rows):
    lowest, chance = (rows[f"{name}, K = 140", ERROR] for name in (LOWEST, ANY))
    assert dataclasses.replace(chance, subject=lowest.subject) == lowest


def test_one_coefficient_answers_the_mean(rows):
    """p̂ = 2^-6 for every W: the error is the variance of p, within its interval."""
    variance = mean_square(6) - 2.0**-12
    row = rows[f"{LOWEST}, K = 1", ERROR]
    assert row.low < variance < row.high


def test_the_slope_and_the_samples_stand_beside_the_errors(rows):
    row = rows[LOWEST, f"{SLOPE} over K from 14 to 140"]
    assert row.low < row.value < row.high < 0
    for size in (1, 14, 55, 140):
        error, samples = (rows[f"{LOWEST}, K = {size}", metric] for metric in (ERROR, SAMPLES))
        assert math.isclose(error.value * samples.value, 2.0**-6 - mean_square(6))
