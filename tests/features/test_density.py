"""Density: values by hand, and coverage of the interval where documents are clusters."""

import numpy as np

from bathyscope.features.density import FiringSums, cluster_size, density, student_quantile


def sums_of(fires_DF: np.ndarray, sizes_D: np.ndarray) -> FiringSums:
    y = fires_DF.astype(float)
    return FiringSums(y.sum(0), (y * y).sum(0), (y * sizes_D[:, None]).sum(0))


def test_density_is_firings_over_tokens_whatever_the_documents():
    sizes = np.array([10, 90])
    found = density(sums_of(np.array([[5], [0]]), sizes), sizes, cluster=1.0)
    assert found.share[0] == 0.05
    assert found.low[0] < 0.05 < found.high[0]


def test_firing_in_one_document_is_less_certain_than_the_same_firings_spread():
    sizes = np.full(20, 50)
    spread, bunched = np.ones((20, 1), int), np.zeros((20, 1), int)
    bunched[3] = 20
    wide, narrow = (density(sums_of(y, sizes), sizes, cluster=1.0) for y in (bunched, spread))
    assert wide.share == narrow.share
    assert (wide.high - wide.low) > 2 * (narrow.high - narrow.low)


def test_the_interval_never_has_zero_width():
    sizes = np.array([30, 70])
    never, always, once = np.zeros((2, 1), int), sizes[:, None], np.array([[0], [1]])
    for fires in (never, always, once):
        found = density(sums_of(fires, sizes), sizes, cluster=2.0)
        assert found.high[0] - found.low[0] > 0.001
        assert 0 <= found.low[0] <= found.share[0] <= found.high[0] <= 1
    alone = np.array([50])
    found = density(sums_of(np.array([[5]]), alone), alone, cluster=2.0)
    assert found.low[0] < 0.1 < found.high[0]


def test_a_silent_feature_gets_the_upper_end_of_the_average_cluster():
    sizes = np.full(100, 100)
    silent = sums_of(np.zeros((100, 1), int), sizes)
    n_eff = 10_000 / 4.0
    assert np.isclose(density(silent, sizes, cluster=4.0).high[0], 1.96**2 / (n_eff + 1.96**2), rtol=1e-3)


def test_cluster_size_is_the_mean_cluster_that_a_firing_sees():
    assert cluster_size(sums_of(np.array([[3, 0], [1, 0]]), np.array([5, 5]))) == (9 + 1) / 4
    assert cluster_size(sums_of(np.zeros((2, 2), int), np.array([5, 5]))) == 1.0


def test_student_quantiles_are_those_of_the_tables():
    table = {5: 2.571, 10: 2.228, 30: 2.042}
    assert np.allclose(student_quantile(np.array(list(table), float)), list(table.values()), rtol=2e-3)
    assert np.isclose(student_quantile(np.array([2.0]))[0], 4.303, rtol=0.04)


def test_the_interval_covers_the_truth_in_clustered_documents_of_unequal_length():
    rng = np.random.default_rng(0)
    n_trials, n_documents = 400, 100
    for p_document, a, b in ((0.02, 0.5, 8.0), (0.1, 1.0, 200.0), (0.1, 0.5, 8.0), (0.6, 0.5, 8.0)):
        truth = p_document * a / (a + b)
        sizes = np.maximum(8, np.exp(rng.normal(5.3, 0.8, (n_trials, n_documents)))).astype(int)
        rates = rng.beta(a, b, sizes.shape) * (rng.random(sizes.shape) < p_document)
        fires = rng.binomial(sizes, rates)
        cluster = float((fires.astype(float) ** 2).sum() / fires.sum())
        found = [density(sums_of(y[:, None], n), n, cluster=cluster) for y, n in zip(fires, sizes, strict=True)]
        covered = np.mean([f.low[0] <= truth <= f.high[0] for f in found])
        assert 0.91 <= covered <= 1.0, (p_document, a, b, covered)
