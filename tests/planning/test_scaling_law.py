"""The law of features and tokens: planted ones are found, intervals cover, and too few runs are refused."""

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.planning.scaling_law import Law, Run, fit_law, interval, predicted_interval, resampled_laws

PLANTED = Law(floor=0.08, of_features=2.0, of_tokens=30.0, alpha=0.4, beta=0.5)
TOGETHER = Law(floor=0.07, of_features=1.8, of_tokens=37.0, alpha=0.4, beta=0.6, gamma=0.25)
GRID = [(F, T) for F in (512, 1024, 2048, 4096) for T in (100_000, 200_000, 400_000, 800_000)]


def runs(noise: float = 0.0, seed: int = 0, law: Law = PLANTED) -> list[Run]:
    rng = np.random.default_rng(seed)
    return [
        Run(n_features=F, n_tokens=T, loss=law.loss(F, T) * float(np.exp(noise * rng.standard_normal())))
        for F, T in GRID
    ]


@pytest.mark.parametrize("law", [PLANTED, TOGETHER], ids=["separate", "together"])
def test_a_planted_law_is_found_again(law):
    found = fit_law(runs(law=law))
    assert found.alpha == pytest.approx(law.alpha, rel=0.05)
    assert found.beta == pytest.approx(law.beta, rel=0.05)
    assert found.gamma == pytest.approx(law.gamma, abs=0.02)
    assert found.floor == pytest.approx(law.floor, rel=0.05)
    assert found.loss(16_384, 3_000_000) == pytest.approx(law.loss(16_384, 3_000_000), rel=0.01)


def test_a_law_of_separate_parts_fits_worse_where_more_features_need_more_tokens():
    given = runs(law=TOGETHER)
    errors = [
        max(abs(run.loss / law.loss(run.n_features, run.n_tokens) - 1) for run in given)
        for law in (fit_law(given), fit_law(given, separate=True))
    ]
    assert fit_law(given, separate=True).gamma == 0
    assert errors[0] < 0.003
    assert errors[1] > 0.01


@pytest.mark.parametrize(("law", "share"), [(PLANTED, 0.5 / 0.9), (TOGETHER, 0.6 / 1.25)])
def test_the_best_share_of_compute_for_features_is_where_neither_gains_by_more(law, share):
    C = 1e9
    assert law.feature_share == pytest.approx(share)
    best = [min(np.geomspace(1e1, 1e8, 4001), key=lambda F, c=c: law.loss(F, c / F)) for c in (C, 100 * C)]
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


def test_a_prediction_beyond_the_runs_counts_how_far_off_a_law_of_the_wrong_form_is():
    given = runs(0.001, law=TOGETHER)
    law, laws = fit_law(given, separate=True), resampled_laws(given, n=30, seed=0, separate=True)
    sizes = [{"n_features": 8192, "n_tokens": T} for T in (100_000, 200_000, 400_000, 800_000, 1_600_000)]
    inside = {"scattered": 0, "beyond": 0}
    for size in sizes:
        truth = TOGETHER.loss(**size)
        low, high = interval([one.loss(**size) for one in laws])
        inside["scattered"] += low <= truth <= high
        low, high = predicted_interval(law, laws, given, **size, seed=0)
        inside["beyond"] += low <= truth <= high
    assert inside["scattered"] < len(sizes) - 1 <= inside["beyond"], inside


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
    with pytest.raises(ConfigError, match="do not tell six numbers apart"):
        fit_law(given)


def test_losses_of_zero_are_refused():
    with pytest.raises(ConfigError, match="a loss is 0 or less"):
        fit_law([*runs(), Run(n_features=7, n_tokens=7, loss=0.0)])
