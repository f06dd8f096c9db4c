"""Alignment: a planted subspace is found again, on pairs that were not learnt from, and noise is not."""

import pytest
import torch
from circuits.planted_exchanges import SITE, changed, exchanged, planted
from tiny import tiny_model

from bathyscope.circuits.alignment import AlignSettings, align, overlap
from bathyscope.circuits.interchange import Exchanges, interchange
from bathyscope.circuits.subspace import Site, random_subspace
from bathyscope.errors import ConfigError

SETTINGS = AlignSettings(rank=4, n_steps=100, batch_size=64, lr=0.05)


@pytest.fixture(scope="module")
def model():
    return tiny_model("gpt2")


@pytest.fixture(scope="module")
def halves(model):
    found = changed(model, exchanged(model, planted(rank=4), n=1200))
    half = len(found) // 2
    assert half > 100
    return found[slice(0, half)], found[slice(half, None)]


def accuracy(model, subspace, among) -> float:
    return float(interchange(model, subspace, among).double().mean())


def test_a_planted_subspace_is_found_and_a_random_one_is_no_match(model, halves):
    learn, report = halves
    found = align(model, SITE, learn, SETTINGS)
    random = random_subspace(SITE, rank=4, d_model=32, seed=3)
    assert accuracy(model, found.subspace, report) > 0.6
    assert overlap(found.subspace, planted(rank=4)) > 0.7
    assert accuracy(model, random, report) < 0.4 and overlap(random, planted(rank=4)) < 0.4


def test_answers_dealt_out_at_random_are_not_found(model, halves):
    learn, report = halves
    order = torch.randperm(len(learn), generator=torch.Generator().manual_seed(0))
    shuffled = Exchanges(learn.base_PS, learn.source_PS[order], learn.wanted_PA)
    found = align(model, SITE, shuffled, SETTINGS)
    assert accuracy(model, found.subspace, report) < 0.5
    assert overlap(found.subspace, planted(rank=4)) < 0.6


def test_the_same_seed_gives_the_same_basis_and_a_start_is_taken_up(model, halves):
    short = AlignSettings(rank=4, n_steps=3, batch_size=16)
    one, two = (align(model, SITE, halves[0], short).subspace.basis_QRD for _ in range(2))
    assert torch.equal(one, two)
    still = AlignSettings(rank=4, n_steps=1, batch_size=4, lr=1e-9)
    begun = align(model, SITE, halves[0], still, start_QRD=planted(rank=4).basis_QRD).subspace
    assert overlap(begun, planted(rank=4)) == pytest.approx(1, abs=1e-5)


def test_overlap_is_that_of_a_hand_computation():
    axes = torch.eye(4)
    site = Site("h.0", (0,))
    first = random_subspace(site, rank=2, d_model=4, seed=0)
    both = [type(first)(site, axes[None, rows]) for rows in ([0, 1], [1, 2])]
    assert overlap(*both) == pytest.approx(0.5)
    with pytest.raises(ConfigError, match="one site and one rank"):
        overlap(both[0], type(first)(site, axes[None, [0]]))
