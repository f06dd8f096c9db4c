import math

import numpy as np
import pytest

from bathyscope.risk.tails import clopper_pearson, pareto_k, weighed


def test_no_hits_leave_an_upper_end_of_about_three_over_n():
    low, high = clopper_pearson(0, 1000, level=0.95)
    assert low == 0
    assert high == pytest.approx(3 / 1000, rel=0.01)


@pytest.mark.parametrize("p", [0.003, 0.05])
def test_the_exact_interval_covers_at_least_as_often_as_it_says(p):
    generator = np.random.default_rng(0)
    ends = [clopper_pearson(int(k), 400, level=0.9) for k in generator.binomial(400, p, size=1000)]
    assert np.mean([low <= p <= high for low, high in ends]) >= 0.9


def test_equal_weights_are_a_plain_mean_without_a_tail():
    found = weighed(np.full(50, math.log(2.0)), 100, level=0.95)
    assert found.log_mean == pytest.approx(math.log(1.0))
    assert found.ess == pytest.approx(50)
    assert found.max_share == pytest.approx(1 / 50)
    assert found.pareto_k == 0


def test_weights_too_small_for_a_float_are_weighed_in_logarithms():
    found = weighed(np.array([-2000.0, -2000.0]), 4, level=0.95)
    assert found.log_mean == pytest.approx(-2000 + math.log(0.5))
    assert found.log_low < found.log_mean < found.log_high


def test_the_interval_of_lognormal_weights_covers():
    generator = np.random.default_rng(1)
    covered = []
    for _ in range(400):
        found = weighed(generator.normal(size=200), 200, level=0.9)
        covered.append(found.log_low <= 0.5 <= found.log_high)
    assert np.mean(covered) >= 0.85


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_the_tail_shape_of_pareto_weights_is_found(shape):
    generator = np.random.default_rng(2)
    found = pareto_k(shape * generator.exponential(size=20_000))
    assert found == pytest.approx(shape, abs=0.25)


def test_few_weights_have_no_tail_shape():
    assert pareto_k(np.zeros(24)) is None


def test_weights_of_a_few_sizes_have_no_tail():
    assert pareto_k(np.repeat([-3.0, -1.0, 0.0], [10, 10, 60])) == 0
