"""Third and fourth cumulants in factors, beside the whole tensor."""

import torch
from risk.layerwise.networks import small

from bathyscope.risk.layerwise.dense_third import activated_densely, read_densely
from bathyscope.risk.layerwise.fourth import Fourth, Trees
from bathyscope.risk.layerwise.moments import of_inputs, read_pairs, read_singly
from bathyscope.risk.layerwise.propagate import corrected, of_pairs, through
from bathyscope.risk.layerwise.third import Third


def some(d=5, r=7, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return Third(torch.randn(d, r, generator=generator), torch.randn(d, r, generator=generator))


def test_the_tensor_is_symmetric():
    dense = some().dense()
    torch.testing.assert_close(dense, dense.permute(1, 0, 2))
    torch.testing.assert_close(dense, dense.permute(2, 0, 1))


def test_slices_and_diagonal_are_those_of_the_tensor():
    third, every = some(), torch.arange(5)
    torch.testing.assert_close(third.slices(), third.dense()[every, every], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(third.diagonal(), third.dense()[every, every, every], rtol=1e-4, atol=1e-5)


def test_scaling_joining_and_keeping_act_on_the_tensor():
    one, other, a_D = some(seed=0), some(seed=1), torch.linspace(-1, 2, 5, dtype=torch.float64)
    torch.testing.assert_close(one.joined(other).dense(), one.dense() + other.dense(), rtol=1e-5, atol=1e-5)
    scaled = torch.einsum("i,j,k,ijk->ijk", a_D, a_D, a_D, one.dense())
    torch.testing.assert_close(one.scaled(a_D).dense(), scaled, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(one.joined(other).kept(torch.arange(7, 14)).dense(), other.dense())


def test_factors_through_a_network_are_the_tensor_that_the_reference_makes():
    network, below = small(width=7, n_hidden=3, scale=0.9), of_inputs(7, order=3)
    dense = torch.zeros(7, 7, 7, dtype=torch.float64)
    for layer in network.layers:
        pairs = read_pairs(layer, below)
        z = pairs.singly(layer.W_DI @ below.mean_D + layer.b_D)
        dense = read_densely(layer.W_DI, dense)
        torch.testing.assert_close(pairs.third.dense(), dense, rtol=1e-3, atol=1e-5)
        f_PD = corrected(layer.activation, 1, z)
        below = through(layer, below)
        dense = activated_densely(f_PD[1], f_PD[2], pairs.covariance_DD, dense, _wanted(layer, z, pairs))
        torch.testing.assert_close(below.third.dense(), dense, rtol=1e-3, atol=1e-5)


def _wanted(layer, z, pairs):
    """κ_iij, by the formula of `propagate`."""
    one, two, three = (corrected(layer.activation, power, z) for power in (1, 2, 3))
    wanted_DD = of_pairs(two - 2 * one[0] * one, one, pairs)
    wanted_DD.diagonal().copy_(three[0] - 3 * one[0] * two[0] + 2 * one[0] ** 3)
    return wanted_DD


def test_single_neurons_read_what_pairs_read():
    network = small(width=7, n_hidden=3)
    below = of_inputs(7, order=3)
    for layer in network.layers[:2]:
        below = through(layer, below)
    single, pairs = read_singly(network.layers[2], below), read_pairs(network.layers[2], below)
    of_pairs_ = pairs.singly(single.mean_D)
    torch.testing.assert_close(single.variance_D, of_pairs_.variance_D)
    torch.testing.assert_close(single.third_D, of_pairs_.third_D)
    torch.testing.assert_close(single.fourth_D, of_pairs_.fourth_D)


def test_sums_over_three_different_neurons_are_those_of_a_loop():
    d, generator = 4, torch.Generator().manual_seed(0)
    a_PD, q_PD, root_DD, W_OD = (torch.randn(n, d, generator=generator, dtype=torch.float64) for n in (3, 3, d, 2))
    apart_DD = root_DD @ root_DD.T
    apart_DD.fill_diagonal_(0)
    third = some(d=d)
    kappa = third.dense()
    trees = Trees(a_PD, q_PD, apart_DD, third, third.slices())
    expected_O = torch.zeros(2, dtype=torch.float64)
    for a in range(d):
        for b in range(d):
            for c in range(d):
                if len({a, b, c}) == 3:
                    at_a = q_PD[2, a] * a_PD[1, b] * a_PD[1, c] * apart_DD[a, b] * apart_DD[a, c]
                    at_b = a_PD[2, b] * a_PD[1, c] * apart_DD[a, b] * apart_DD[b, c]
                    at_c = a_PD[1, b] * a_PD[2, c] * apart_DD[a, c] * apart_DD[b, c]
                    rest = at_b + at_c + a_PD[1, b] * a_PD[1, c] * kappa[a, b, c]
                    expected_O += W_OD[:, a] ** 2 * W_OD[:, b] * W_OD[:, c] * (at_a + q_PD[1, a] * rest)
    read = third.scaled(a_PD[1]).through(W_OD)
    torch.testing.assert_close(trees.of_sums(W_OD, read), expected_O, rtol=1e-3, atol=1e-4)


def test_the_fourth_cumulant_of_a_sum_of_independent_neurons_is_the_sum():
    W_OD, nothing = torch.tensor([[1.0, -2.0]], dtype=torch.float64), torch.zeros(2, 2, dtype=torch.float64)
    fourth = Fourth(torch.diag(torch.tensor([3.0, 0.5], dtype=torch.float64)), nothing)
    assert float(fourth.iiii(W_OD, some(d=1))[0]) == 3.0 + 16 * 0.5


def test_pairs_and_triples_are_counted_as_often_as_they_occur():
    """κ(x + y) = κ_xxxx + 4 κ_xxxy + 6 κ_xxyy + 4 κ_xyyy + κ_yyyy."""
    pairs_DD = torch.tensor([[2.0, 0.25], [0.25, 3.0]], dtype=torch.float64)
    triples_DD = torch.tensor([[0.0, 0.5], [0.125, 0.0]], dtype=torch.float64)
    W_OD = torch.ones(1, 2, dtype=torch.float64)
    assert float(Fourth(pairs_DD, triples_DD).iiii(W_OD, some(d=1))[0]) == 2 + 4 * 0.5 + 6 * 0.25 + 4 * 0.125 + 3
