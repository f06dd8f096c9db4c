"""Free energies of enumerated rungs, from their exact expected counts."""

import numpy as np
import pytest

from bathyscope.risk.estimators.pool import Pool, free_energies, log_weight

SCORE_U = np.array([-6.0, -3.0, -1.5, -0.5, 0.0])
P_U = np.array([0.7, 0.25, 0.04, 0.0099, 0.0001])
BETA_K = np.array([0.0, 1.0, 2.5, 8.0])
N_K = np.array([100.0, 50.0, 200.0, 10.0])


def expected_pool() -> Pool:
    share_KU = P_U * np.exp(BETA_K[:, None] * SCORE_U)
    return Pool(SCORE_U, N_K @ (share_KU / share_KU.sum(1, keepdims=True)), N_K)


def test_expected_counts_give_the_exact_normalisers() -> None:
    exact_K = -np.log((P_U * np.exp(BETA_K[:, None] * SCORE_U)).sum(1))
    assert free_energies(expected_pool(), BETA_K, start_K=np.zeros(4)) == pytest.approx(exact_K, abs=1e-5)


def test_expected_counts_give_the_exact_probability_of_hits() -> None:
    pool = expected_pool()
    f_K = free_energies(pool, BETA_K, start_K=np.zeros(4))
    p = pool.count_U[-1] * np.exp(log_weight(pool, BETA_K, f_K, score=0.0))
    assert p == pytest.approx(P_U[-1], rel=1e-5)


@pytest.mark.parametrize("off", [0.3, -5.0, 40.0])
def test_the_place_does_not_depend_on_the_start(off: float) -> None:
    pool = expected_pool()
    there_K = free_energies(pool, BETA_K, start_K=np.zeros(4))
    start_K = there_K + off * np.array([0, 1, -1, 2])
    assert free_energies(pool, BETA_K, start_K=start_K) == pytest.approx(there_K, abs=1e-5)


def test_one_rung_has_nothing_to_find() -> None:
    pool = Pool(np.array([-1.0, 0.0]), np.array([9.0, 1.0]), np.array([10.0]))
    assert free_energies(pool, np.zeros(1), start_K=np.zeros(1)) == pytest.approx([0.0])
    assert np.exp(log_weight(pool, np.zeros(1), np.zeros(1), score=0.0)) == pytest.approx(1 / 10)
