"""Intervals over documents: values by hand, and coverage on a known truth."""

import numpy as np

from bathyscope.evaluation.intervals import bootstrap, by_document


def ratio(t):
    return t[..., 0] / t[..., 1]


def test_value_is_the_ratio_of_totals_not_the_mean_of_ratios():
    interval = bootstrap(np.array([[1.0, 1.0], [0.0, 9.0]]), ratio, seed=0)
    assert interval.value == 0.1
    assert interval.low <= 0.1 <= interval.high
    assert interval.n == 2


def test_one_document_gives_an_unbounded_interval():
    interval = bootstrap(np.array([[3.0, 4.0]]), ratio, seed=0)
    assert (interval.value, interval.low, interval.high) == (0.75, -np.inf, np.inf)


def test_same_seed_same_interval_and_other_seed_another():
    sums = np.random.default_rng(1).random((40, 2))
    assert bootstrap(sums, ratio, seed=3) == bootstrap(sums, ratio, seed=3)
    assert bootstrap(sums, ratio, seed=3) != bootstrap(sums, ratio, seed=4)


def test_interval_covers_the_truth_about_nineteen_times_in_twenty():
    generator = np.random.default_rng(0)
    truth, covered, trials = 0.3, 0, 300
    for trial in range(trials):
        document_means = np.clip(generator.normal(truth, 0.1, size=60), 0, 1)
        sizes = generator.integers(20, 200, size=60).astype(float)
        sums = np.stack([generator.binomial(sizes.astype(int), document_means), sizes], axis=1).astype(float)
        interval = bootstrap(sums, ratio, seed=trial, n_resamples=400)
        covered += interval.low <= truth <= interval.high
    assert 0.90 <= covered / trials <= 0.98


def test_sums_are_grouped_by_document_number():
    totals = by_document(np.array([7, 2, 7]), np.array([[1.0], [10.0], [100.0]]))
    assert totals.tolist() == [[10.0], [101.0]]
