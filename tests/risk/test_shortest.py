"""The shortest vector: known ones, the conditions that make it the shortest, and what has none."""

import numpy as np
import pytest

from bathyscope.risk.shortest import shortest


def test_one_row_is_met_at_its_foot():
    found = shortest(np.array([[3.0, 4.0]]), np.array([10.0]))
    np.testing.assert_allclose(found.z_D, [1.2, 1.6], atol=1e-9)


def test_two_rows_meet_in_a_corner_and_a_slack_third_does_not_matter():
    found = shortest(np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]]), np.array([1.0, 4.0, -5.0]))
    np.testing.assert_allclose(found.z_D, [1.0, 2.0], atol=1e-9)
    assert sorted(found.rows_A) == [0, 1]


def test_0_is_the_shortest_where_it_is_allowed():
    found = shortest(np.array([[1.0, 0.0]]), np.array([-1.0]))
    assert found.n_rounds == 0
    assert not found.z_D.any()


@pytest.mark.parametrize(
    ("G", "h"), [([[1.0, 0.0], [-1.0, 0.0]], [1.0, 1.0]), ([[0.0, 0.0], [1.0, 0.0]], [1.0, 1.0])], ids=["rows", "flat"]
)
def test_what_cannot_be_met_has_no_vector(G, h):
    assert shortest(np.array(G), np.array(h)).z_D is None


@pytest.mark.parametrize("seed", range(5))
def test_the_vector_meets_every_row_and_is_held_by_those_that_push(seed):
    """Karush, Kuhn and Tucker: z is a non-negative sum of the rows that it meets exactly, so nothing is shorter."""
    generator = np.random.default_rng(seed)
    G, anywhere = generator.normal(size=(400, 12)), generator.normal(size=12) * 5
    h = G @ anywhere - generator.exponential(size=400)
    found = shortest(G, h)
    assert (G @ found.z_D - h).min() > -1e-6
    assert np.linalg.norm(found.z_D) <= np.linalg.norm(anywhere) + 1e-9
    share, rest = np.linalg.lstsq(G[found.rows_A].T, found.z_D, rcond=None)[:2]
    assert share.min() > -1e-6
    np.testing.assert_allclose(G[found.rows_A].T @ share, found.z_D, atol=1e-5)
    np.testing.assert_allclose(G[found.rows_A] @ found.z_D, h[found.rows_A], atol=1e-5)
    assert len(rest) <= 1


def test_rows_are_taken_in_as_they_are_violated():
    generator = np.random.default_rng(0)
    G = generator.normal(size=(5000, 40))
    h = G @ generator.normal(size=40) * 3 - generator.exponential(size=5000)
    found = shortest(G, h)
    assert found.n_rows < 1000
    assert (G @ found.z_D - h).min() > -1e-6
