"""The law of features and tokens: planted ones are found, intervals cover, and too few runs are refused."""

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.planning.scaling_law import Law, Run, fit_law, interval, predicted_interval, resampled_laws

PLANTED = Law(floor=0.08, of_features=2.0, of_tokens=30.0, alpha=0.4, beta=0.5)
GRID = [(F, T) for F in (512, 1024, 2048, 4096) for T in (100_000, 200_000, 400_000, 800_000)]


def runs(noise: float = 0.0, seed: int = 0) -> list[Run]:
    rng = np.random.default_rng(seed)
    return [
        Run(n_features=F, n_tokens=T, loss=PLANTED.loss(F, T) * float(np.exp(noise * rng.standard_normal())))
        for F, T in GRID
    ]


def test_a_planted_law_is_found_again():
    found = fit_law(runs())
    assert found.alpha == pytest.approx(PLANTED.alpha, rel=0.05)
    assert found.beta == pytest.approx(PLANTED.beta, rel=0.05)
    assert found.floor == pytest.approx(PLANTED.floor, rel=0.05)
    assert found.loss(16_384, 3_000_000) == pytest.approx(PLANTED.loss(16_384, 3_000_000), rel=0.01)


def test_the_best_share_of_compute_for_features_is_where_neither_gains_by_more():
    C, share = 1e9, PLANTED.feature_share
    assert share == pytest.approx(0.5 / 0.9)
    best = [min(np.geomspace(1e1, 1e8, 4001), key=lambda F, c=c: PLANTED.loss(F, c / F)) for c in (C, 100 * C)]
    assert np.log(best[1] / best[0]) / np.log(100) == pytest.approx(share, abs=0.01)


def test_the_next_run_lies_where_it_was_predicted():
    noisy, inside = [runs(0.01, seed) for seed in range(4)], 0
    for seed, given in enumerate(noisy):
        law, laws = fit_law(given), resampled_laws(given, n=30, seed=seed)
        low, high = predicted_interval(law, laws, given, n_features=8192, n_tokens=1_600_000, seed=seed)
        truth = PLANTED.loss(8192, 1_600_000) * float(np.exp(0.01 * np.random.default_rng(99 + seed).standard_normal()))
        assert low < high
        inside += low <= truth <= high
    assert inside >= 3


def test_resampling_repeats_itself_with_its_seed():
    given = runs(0.01)
    assert resampled_laws(given, n=3, seed=1) == resampled_laws(given, n=3, seed=1)
    assert resampled_laws(given, n=3, seed=1) != resampled_laws(given, n=3, seed=2)


def test_an_interval_is_the_middle_of_the_values():
    assert interval([float(i) for i in range(101)], level=0.9) == pytest.approx((5.0, 95.0))


@pytest.mark.parametrize(
    "given",
    [
        runs()[:4],
        [run for run in runs() if run.n_tokens == 100_000],
        [run for run in runs() if run.n_features < 2048],
    ],
)
def test_runs_that_cannot_tell_features_from_tokens_are_refused(given):
    with pytest.raises(ConfigError, match="do not tell five numbers apart"):
        fit_law(given)


def test_losses_of_zero_are_refused():
    with pytest.raises(ConfigError, match="a loss is 0 or less"):
        fit_law([*runs(), Run(n_features=7, n_tokens=7, loss=0.0)])
