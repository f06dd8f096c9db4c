import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.risk.mbar import mbar


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
