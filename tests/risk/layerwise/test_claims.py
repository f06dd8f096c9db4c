"""Terms that claims keep are worth more than as many that size or chance keeps."""

import pytest
import torch
from jaxtyping import TypeCheckError
from risk.layerwise.networks import small

from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise.claims import Keep, claims, propagate_kept, worth
from bathyscope.risk.layerwise.network import Dense, Network, random_network
from bathyscope.risk.layerwise.propagate import propagate_singly
from bathyscope.risk.layerwise.third import Third

NETWORK = random_network(width=48, n_hidden=3, seed=0, is_linear_last=True)
FEW = Network((*NETWORK.layers[:-1], Dense(NETWORK.layers[-1].W_DI[:2], NETWORK.layers[-1].b_D[:2])))


def loss(network, **keep):
    whole_D, kept_D = propagate_singly(network).third_D, propagate_kept(network, Keep(**keep)).third_D
    return float((kept_D - whole_D).square().sum() / whole_D.square().sum())


def test_all_terms_are_the_whole():
    assert loss(FEW, share=1.0) < 1e-9


def test_claims_lose_less_than_size_and_chance():
    by_claims, by_size = loss(FEW, share=0.25), loss(FEW, share=0.25, by="size")
    by_chance = sum(loss(FEW, share=0.25, by="chance", seed=seed) for seed in range(3)) / 3
    assert by_claims < 0.5 * min(by_size, by_chance)


def test_the_worth_of_a_term_is_the_mean_square_of_what_it_changes():
    """E (3 (j·u)(j·v)²)² over normal j with covariance G, against drawn j."""
    generator = torch.Generator().manual_seed(0)
    third = Third(torch.randn(3, 4, generator=generator), torch.randn(3, 4, generator=generator))
    root_DD = torch.randn(3, 3, generator=generator, dtype=torch.float64)
    j_ND = (torch.randn(400_000, 3, generator=generator, dtype=torch.float64) @ root_DD.T).float()
    drawn_NR = (3 * (j_ND @ third.U_DR) * (j_ND @ third.V_DR) ** 2).square()
    found_R = worth(third, root_DD @ root_DD.T)
    torch.testing.assert_close(found_R, drawn_NR.mean(0), rtol=0.1, atol=0)


def test_claims_of_one_output_know_its_direction():
    """Below the last layer the one claim is the row of weights: its second moment has rank one."""
    one = Network((*NETWORK.layers[:-1], Dense(NETWORK.layers[-1].W_DI[:1], NETWORK.layers[-1].b_D[:1], "relu")))
    last_DD = claims(one)[-1]
    row_D = NETWORK.layers[-1].W_DI[0]
    torch.testing.assert_close(last_DD / last_DD.trace(), torch.outer(row_D, row_D) / row_D.square().sum())


def test_there_are_claims_about_every_layer_but_the_last():
    assert [G_DD.shape for G_DD in claims(small(n_hidden=3))] == [(6, 6), (6, 6)]


@pytest.mark.parametrize("share", [0.0, 1.5])
def test_shares_that_are_none_are_refused(share):
    with pytest.raises(ConfigError, match="share is"):
        Keep(share=share)


def test_an_unknown_ranking_is_refused():
    with pytest.raises((ConfigError, TypeCheckError), match="by"):
        Keep(share=0.5, by="luck")
