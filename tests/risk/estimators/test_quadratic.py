"""QLD: whitening, spans, the normal case where it is right, the mistakes that it must not make, and its flags."""

import math

import numpy as np
import pytest
import torch
from risk.enumerable import enumerable_model, problem

from bathyscope.errors import ConfigError
from bathyscope.risk.budget import Budget
from bathyscope.risk.estimators.quadratic import (
    QuadraticLogits,
    cut,
    log_normal_between,
    seen_through,
    span_of,
    whitened,
)
from bathyscope.risk.head import Head, read_head
from bathyscope.risk.run import estimate

D, V = 6, 20


def normal_world(n: int, seed: int = 0) -> tuple[torch.Tensor, Head]:
    generator = torch.Generator().manual_seed(seed)
    root_DD = torch.linalg.qr(torch.randn(D, D, generator=generator))[0] * torch.logspace(-0.5, 0.5, D)
    head = Head(weight_VD=torch.randn(V, D, generator=generator), bias_V=torch.randn(V, generator=generator))
    return torch.randn(n, D, generator=generator) @ root_DD.T + 0.3, head


def test_whitened_activations_have_mean_0_and_covariance_1():
    x_ND, _ = normal_world(500)
    x_ND = torch.cat([x_ND, x_ND[:, :1] + x_ND[:, 1:2]], dim=1)  # one direction does not vary
    white = whitened(x_ND)
    assert white.u_NR.shape == (500, D)
    np.testing.assert_allclose(white.u_NR.mean(0), 0, atol=1e-6)
    np.testing.assert_allclose(white.u_NR.T @ white.u_NR / 500, np.eye(D), atol=1e-3)
    np.testing.assert_allclose(white.u_NR @ white.root_DR.T + white.mean_D, x_ND.numpy(), atol=1e-4)


def test_the_pairs_are_those_that_checking_each_of_them_finds():
    x_ND, head = normal_world(60)
    white = whitened(x_ND)
    seen = seen_through(white, head)
    truth_V = head.linear(x_ND).argmax(1).bincount(minlength=V)
    token = int(truth_V.argsort()[V // 2 + 2])
    one = cut(white, seen, token)
    rest_NR = white.u_NR - one.alpha_N[:, None] * one.direction_R
    pairs_NNR = one.alpha_N[:, None, None] * one.direction_R + rest_NR
    hits = (pairs_NNR @ seen.gain_VR.T + seen.centre_V).argmax(2) == token
    (found,) = QuadraticLogits().of_activations(x_ND, head, [token], level=0.9, seed=0)
    assert hits.sum() > 0
    assert math.exp(found.log_p) == pytest.approx(hits.mean(), abs=2 / 60**2)


def test_what_a_row_has_along_the_direction_does_not_change_its_span():
    x_ND, head = normal_world(200)
    white = whitened(x_ND)
    one = cut(white, seen_through(white, head), 3)
    moved_N = 2.0 + np.arange(200) / 50
    shift_ND = torch.from_numpy(moved_N[:, None] * (white.root_DR @ one.direction_R)).float()
    still = span_of(head.linear(x_ND), one.alpha_N, one.slope_V, 3)
    moved = span_of(head.linear(x_ND + shift_ND), one.alpha_N + moved_N, one.slope_V, 3)
    np.testing.assert_allclose(moved.low_N, still.low_N, atol=1e-3)
    np.testing.assert_allclose(moved.high_N, still.high_N, atol=1e-3)


@pytest.fixture(scope="module")
def counted() -> tuple[torch.Tensor, Head, list[int], np.ndarray]:
    """Rows, head, tokens and their probabilities in the normal world, counted in a million draws."""
    x_ND, head = normal_world(2**20)
    truth_V = (head.linear(x_ND).argmax(1).bincount(minlength=V) / len(x_ND)).numpy()
    tokens = [int(t) for t in np.flatnonzero((truth_V > 3e-5) & (truth_V < 1e-2))]
    return x_ND[:4096], head, tokens, truth_V[tokens]


@pytest.mark.parametrize("along", ["empirical", "normal"])
def test_where_the_halves_are_independent_the_estimate_is_within_a_tenth_of_a_decade(counted, along):
    x_ND, head, tokens, truth_T = counted
    assert len(tokens) >= 4
    found = QuadraticLogits(along=along).of_activations(x_ND, head, tokens, level=0.9, seed=0)
    decades_T = np.array([one.log_p for one in found]) / math.log(10) - np.log10(truth_T)
    assert math.sqrt((decades_T**2).mean()) <= 0.1
    inside = [one.log_low <= math.log(p) <= one.log_high for one, p in zip(found, truth_T, strict=True)]
    assert sum(inside) >= len(tokens) - 2


def test_using_the_whole_row_where_the_rest_belongs_is_far_off(counted):
    """α counted twice: a mistake that the invariance above rules out, and that this world would show."""
    x_ND, head, tokens, truth_T = counted
    white = whitened(x_ND)
    seen = seen_through(white, head)
    wrong = []
    for token in tokens:
        one = cut(white, seen, token)
        span = span_of(head.linear(x_ND), np.zeros(len(x_ND)), one.slope_V, token)
        hits = ((one.alpha_N[:, None] >= span.low_N) & (one.alpha_N[:, None] <= span.high_N)).mean()
        wrong.append(math.log10(hits / truth_T[len(wrong)]))
    assert math.sqrt(np.mean(np.square(wrong))) > 0.3


def test_many_tokens_at_once_are_each_alone():
    x_ND, head = normal_world(500)
    together = QuadraticLogits().of_activations(x_ND, head, [3, 5, 7], level=0.9, seed=1)
    assert together == [QuadraticLogits().of_activations(x_ND, head, [t], level=0.9, seed=1)[0] for t in (3, 5, 7)]


def test_a_soft_cap_keeps_the_estimate():
    x_ND, head = normal_world(500)
    capped = Head(weight_VD=head.weight_VD, bias_V=head.bias_V, soft_cap=5.0)
    assert QuadraticLogits().of_activations(x_ND, capped, [3], level=0.9, seed=1) == QuadraticLogits().of_activations(
        x_ND, head, [3], level=0.9, seed=1
    )


def test_an_event_that_the_mean_shows_is_counted_and_flagged():
    x_ND, head = normal_world(500)
    token = int(head.linear(x_ND.mean(0, keepdim=True)).argmax())
    (found,) = QuadraticLogits().of_activations(x_ND, head, [token], level=0.9, seed=0)
    assert "center_accepts" in found.flags
    assert math.exp(found.log_p) == pytest.approx(float((head.linear(x_ND).argmax(1) == token).double().mean()))


def test_a_token_that_nothing_makes_likeliest_is_infeasible():
    x_ND, head = normal_world(500)
    head = Head(weight_VD=head.weight_VD, bias_V=head.bias_V.clone())
    head.weight_VD[1] = head.weight_VD[0]
    head.bias_V[1] = head.bias_V[0] - 1
    (found,) = QuadraticLogits().of_activations(x_ND, head, [1], level=0.9, seed=0)
    assert found.log_p == -math.inf
    assert found.flags == ("model_bias", "infeasible", "no_hits")
    assert found.log_high == pytest.approx(math.log(1 - 0.1 ** (1 / 500)))


def test_the_mass_between_two_normal_points_is_exact_far_out_on_either_side():
    low, high = np.array([-1.0, 30.0, -31.0, 2.0, -np.inf]), np.array([1.0, 31.0, -30.0, 1.0, np.inf])
    found = log_normal_between(low, high)
    assert found[0] == pytest.approx(math.log(0.6826894921370859))
    assert found[1] == pytest.approx(found[2]) == pytest.approx(-454.3212439955, abs=1e-6)
    assert found[3] == -math.inf
    assert found[4] == pytest.approx(0, abs=1e-12)


def test_a_transformer_is_read_and_the_whole_budget_spent():
    found = estimate(problem(), QuadraticLogits(), Budget(forward=600))
    assert "model_bias" in found.flags
    assert found.cost["forward"] == 600
    assert -math.inf < found.figures.log_high <= 0


def test_a_budget_below_the_width_is_refused():
    with pytest.raises(ConfigError, match="QLD needs 20 forwards for this width, found 19"):
        estimate(problem(), QuadraticLogits(), Budget(forward=19))


def test_the_head_is_read_where_the_final_norm_is():
    assert read_head(enumerable_model()).hookpoint == "ln_f"
