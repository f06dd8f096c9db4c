"""Normalisers and weights: Gaussians, and rungs that are enumerated, from their exact expected counts."""

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.risk.mbar import Pool, free_energies, log_mix, mbar

SCORE_U = np.array([-6.0, -3.0, -1.5, -0.5, 0.0])
P_U = np.array([0.7, 0.25, 0.04, 0.0099, 0.0001])
BETA_K = np.array([0.0, 1.0, 2.5, 8.0])
N_K = np.array([100.0, 50.0, 200.0, 10.0])


def expected_pool() -> Pool:
    share_KU = P_U * np.exp(BETA_K[:, None] * SCORE_U)
    return Pool(-SCORE_U[:, None] * BETA_K, N_K @ (share_KU / share_KU.sum(1, keepdims=True)), N_K)


def test_normalisers_of_tilted_gaussians_are_found():
    """x ~ N(0, 1) tilted by exp(t·x) has normaliser exp(t²/2)."""
    tilt_K = np.array([0.0, 1.0, 2.0, 3.0])
    rng = np.random.default_rng(0)
    x_N = np.concatenate([rng.normal(tilt, 1, size=4_000) for tilt in tilt_K])
    found = mbar(-tilt_K[:, None] * x_N, np.full(4, 4_000))
    np.testing.assert_allclose(found.log_z_K, tilt_K**2 / 2, atol=0.06)
    p = np.exp(found.log_weight_N[x_N > 4]).sum()
    assert abs(np.log10(p / 3.167e-5)) < 0.05  # P(x > 4), which 4,000 plain samples would not see


def test_one_state_weighs_its_samples_alike():
    found = mbar(np.random.default_rng(0).normal(size=(1, 7)) * 0, np.array([7]))
    np.testing.assert_allclose(np.exp(found.log_weight_N), 1 / 7)
    assert found.log_z_K.tolist() == [0.0]


def test_two_states_agree_with_importance_sampling_where_only_one_is_sampled():
    x_N = np.random.default_rng(1).normal(1.0, 1.0, size=500)
    found = mbar(np.stack([0 * x_N, -x_N]), np.array([0, 500]))
    expected_N = np.exp(-x_N) / np.exp(-x_N).sum()
    np.testing.assert_allclose(np.exp(found.log_weight_N), expected_N)


def test_a_constant_added_to_a_state_s_energy_changes_its_normaliser_alone():
    x_N = np.random.default_rng(2).normal(size=60)
    energy_KN, n_K = np.stack([0 * x_N, -x_N]), np.array([30, 30])
    before, after = mbar(energy_KN, n_K), mbar(energy_KN + np.array([[0.0], [1_000.0]]), n_K)
    np.testing.assert_allclose(after.log_weight_N, before.log_weight_N, atol=1e-8)
    np.testing.assert_allclose(after.log_z_K, before.log_z_K - [0, 1_000])


def test_counts_that_do_not_fit_and_unreachable_samples_are_refused():
    with pytest.raises(ConfigError, match="do not fit"):
        mbar(np.zeros((2, 5)), np.array([2, 2]))
    with pytest.raises(ConfigError, match="NaN"):
        mbar(np.array([[np.nan, 0.0]]), np.array([2]))
    with pytest.raises(ConfigError, match="reach none"):
        mbar(np.array([[0.0, 0.0], [np.inf, np.inf]]), np.array([2, 0]))


def test_expected_counts_give_the_exact_normalisers() -> None:
    exact_K = -np.log((P_U * np.exp(BETA_K[:, None] * SCORE_U)).sum(1))
    assert free_energies(expected_pool(), start_K=np.zeros(4)) == pytest.approx(exact_K, abs=1e-5)


def test_expected_counts_give_the_exact_probability_of_hits() -> None:
    pool = expected_pool()
    f_K = free_energies(pool, start_K=np.zeros(4))
    p = pool.count_U[-1] * np.exp(-log_mix(pool.energy_UK[-1], pool.n_K, f_K))
    assert p == pytest.approx(P_U[-1], rel=1e-5)


@pytest.mark.parametrize("off", [0.3, -5.0, 40.0])
def test_the_place_does_not_depend_on_the_start(off: float) -> None:
    pool = expected_pool()
    there_K = free_energies(pool, start_K=np.zeros(4))
    start_K = there_K + off * np.array([0, 1, -1, 2])
    assert free_energies(pool, start_K=start_K) == pytest.approx(there_K, abs=1e-5)


def test_one_rung_has_nothing_to_find() -> None:
    pool = Pool(np.zeros((2, 1)), np.array([9.0, 1.0]), np.array([10.0]))
    assert free_energies(pool, start_K=np.zeros(1)) == pytest.approx([0.0])
    assert np.exp(-log_mix(np.zeros(1), pool.n_K, np.zeros(1))) == pytest.approx(1 / 10)


def test_counts_of_distinct_samples_do_what_the_samples_themselves_do() -> None:
    x_N = np.random.default_rng(3).integers(0, 4, size=90).astype(float)
    x_U, count_U = np.unique(x_N, return_counts=True)
    tilt_K, n_K = np.array([0.0, 0.5, 1.0]), np.array([40, 30, 20])
    found = mbar(-tilt_K[:, None] * x_N, n_K)
    pool = Pool(-x_U[:, None] * tilt_K, count_U.astype(float), n_K.astype(float))
    assert free_energies(pool, start_K=np.zeros(3), within=1e-10) == pytest.approx(-found.log_z_K, abs=1e-8)
    assert np.exp(found.log_weight_N).sum() == pytest.approx(1, abs=1e-12)
