"""Folding: the neutral form computes the same, in units of the model's own activations."""

import jaxtyping
import pytest
import torch

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above, Largest, Positive, Rule
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ArtifactError, ConfigError

D, F = 6, 20


def draw(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def raw(*, unit: bool = False) -> Weights:
    W_dec = draw(F, D, seed=2)
    W_dec = 3 * torch.nn.functional.normalize(W_dec, dim=1) if unit else W_dec
    threshold = draw(F, seed=4).abs()
    return Weights(
        W_enc=draw(D, F, seed=0), b_enc=draw(F, seed=1), W_dec=W_dec, b_dec=draw(D, seed=3), threshold=threshold
    )


def unfolded(weights: Weights, rule: Rule, x_ND: torch.Tensor, *, scale: float, subtract: bool) -> torch.Tensor:
    """What was trained, on scaled activations, brought back to the model's units."""
    scaled_ND = scale * x_ND - (weights.b_dec if subtract else 0)
    codes_NF = rule.keep(scaled_ND @ weights.W_enc + weights.b_enc, weights.threshold).dense()
    return (codes_NF @ weights.W_dec + weights.b_dec) / scale


@pytest.mark.parametrize("subtract", [False, True])
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("rule", [Positive(), Above(), Largest(k=3)], ids=lambda rule: type(rule).__name__)
def test_folded_weights_compute_the_same(rule, scale, subtract):
    weights = raw(unit=isinstance(rule, Largest))
    x_ND = draw(50, D, seed=9) / scale
    dictionary = Dictionary(weights=fold(weights, scale=scale), rule=rule, subtract_b_dec=subtract)
    wanted_ND = unfolded(weights, rule, x_ND, scale=scale, subtract=subtract)
    torch.testing.assert_close(dictionary.reconstruct(x_ND), wanted_ND, rtol=1e-5, atol=1e-5 / scale)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(F))


def test_folding_is_refused_when_it_would_change_the_selection():
    with pytest.raises(ConfigError, match="unit rows"):
        fold(raw(), scale=1.0, compares_features=True)
    fold(raw(unit=True), scale=1.0, compares_features=True)


def test_a_feature_that_writes_nothing_never_fires():
    weights = raw()
    weights.W_dec[4] = 0
    folded = fold(weights, scale=2.0)
    assert all(tensor.isfinite().all() for tensor in folded.tensors().values())
    dictionary = Dictionary(weights=folded, rule=Positive(), subtract_b_dec=False)
    assert (dictionary.encode(draw(50, D, seed=9)).dense()[:, 4] == 0).all()


@pytest.fixture
def without_shape_checks():
    """As for a user, who has none."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.mark.usefixtures("without_shape_checks")
def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ArtifactError, match=r"W_dec has shape \(6, 20\), expected \(20, 6\)"):
        Weights(W_enc=torch.zeros(D, F), b_enc=torch.zeros(F), W_dec=torch.zeros(D, F), b_dec=torch.zeros(D))
