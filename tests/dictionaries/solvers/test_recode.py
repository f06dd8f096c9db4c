"""Same dictionary, other codes."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest, Pursuit
from bathyscope.dictionaries.solvers.fista import Fista
from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit
from bathyscope.dictionaries.solvers.recode import recode
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError

PLANTED = world(n_tokens=1024)
SOLVERS = [Pursuit(k=4), OrthogonalPursuit(k=4), Fista(l1=0.5)]


def dictionary(*, W_dec_FD: Tensor = PLANTED.truth_GD, subtract_b_dec: bool = False) -> Dictionary:
    """True directions, and an encoder that knows nothing of them."""
    noise_DF = torch.randn(W_dec_FD.T.shape, generator=torch.Generator().manual_seed(1))
    offset_D = torch.full((W_dec_FD.shape[1],), 0.1)
    weights = Weights(W_enc=noise_DF, b_enc=torch.zeros(len(W_dec_FD)), W_dec=W_dec_FD, b_dec=offset_D)
    return Dictionary(weights=weights, rule=Largest(k=4), subtract_b_dec=subtract_b_dec)


def explained(found: Dictionary, solver: Pursuit | OrthogonalPursuit | Fista | None = None) -> float:
    x_ND = PLANTED.x_ND
    codes = found.encode(x_ND) if solver is None else recode(found, x_ND, solver)
    error = (x_ND - found.decode(codes)).square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    return 1 - float(error)


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_true_directions_are_used_well_whatever_the_encoder(solver):
    assert explained(dictionary()) < 0.1
    assert explained(dictionary(), solver) > 0.8
    random_FD = torch.nn.functional.normalize(torch.randn(64, 32, generator=torch.Generator().manual_seed(2)), dim=1)
    assert explained(dictionary(W_dec_FD=random_FD), solver) < explained(dictionary(), solver) - 0.1


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: type(solver).__name__)
def test_what_is_coded_does_not_depend_on_what_the_encoder_subtracts(solver):
    codes = [recode(dictionary(subtract_b_dec=flag), PLANTED.x_ND, solver).dense() for flag in (True, False)]
    assert torch.equal(*codes)


def test_a_fitted_pursuit_explains_more_than_a_greedy_one():
    assert explained(dictionary(), OrthogonalPursuit(k=4)) > explained(dictionary(), Pursuit(k=4))


def test_a_dictionary_that_writes_elsewhere_and_another_width_are_refused():
    elsewhere = dataclasses.replace(dictionary(), hookpoint="layers.1.mlp", output_hookpoint="output")
    with pytest.raises(ConfigError, match=r"reads layers.1.mlp and writes output: only one that reconstructs"):
        recode(elsewhere, PLANTED.x_ND, Pursuit(k=2))
    with pytest.raises(ConfigError, match=r"shape \(3, 16\).*takes \[N, 32\]"):
        recode(dictionary(), torch.zeros(3, 16), Pursuit(k=2))
