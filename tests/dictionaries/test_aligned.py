"""Aligned training: the constraint holds, and its gradients are those of the formula."""

import dataclasses

import pytest
import torch
from dictionaries.planted import matched_cosine, world
from torch import Tensor, nn

from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.aligned import align, align_gradients, inner_products
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F = 32, 64
KINDS = [TopK(n_features=F, k=4, aligned=True), AbsTopK(n_features=F, k=4, aligned=True)]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def rows(*, seed: int = 0) -> tuple[nn.Parameter, nn.Parameter]:
    """Encoder rows and unit decoder rows."""
    return nn.Parameter(draw(F, D, seed=seed)), nn.Parameter(nn.functional.normalize(draw(F, D, seed=seed + 1), dim=1))


def products_after(kind: TopK | AbsTopK, *, steps: int) -> tuple[Member, list[Tensor]]:
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    planted, found = world(n_true=F, d_model=D, n_tokens=4096), []
    member.start(planted.x_ND)
    for n, x_ND in zip(range(steps), planted.batches(128) * 9, strict=False):
        member.step(x_ND, progress=(n + 0.5) / steps)
        found.append(inner_products(*(member.trainee.get_parameter(name) for name in ("W_enc_FD", "W_dec_FD"))))
    return member, found


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_the_inner_product_of_encoder_and_decoder_rows_stays_1_through_training(kind):
    member, products = products_after(kind, steps=100)
    assert max(float((found_F - 1).abs().max()) for found_F in products) < 1e-5
    folded = member.fold()
    assert (inner_products(folded.W_enc.T, folded.W_dec) - 1).abs().max() < 1e-5
    _, free = products_after(dataclasses.replace(kind, aligned=False), steps=100)
    assert (free[-1] - 1).abs().max() > 0.05, "without the flag they drift"


def test_gradients_are_those_through_the_formula():
    W_enc_FD, W_dec_FD = rows()
    align(W_enc_FD, W_dec_FD)
    mixed, offset = draw(F, D, seed=5), draw(F, D, seed=6)

    def loss(encoder_FD: Tensor, decoder_FD: Tensor) -> Tensor:
        return (mixed * encoder_FD.square() + offset * encoder_FD * decoder_FD + decoder_FD**3).sum()

    loss(W_enc_FD, W_dec_FD).backward()
    align_gradients(W_enc_FD, W_dec_FD)
    v_FD, d_FD = (x.detach().clone().requires_grad_() for x in (W_enc_FD, W_dec_FD))
    w_FD = v_FD + (1 - (v_FD * d_FD).sum(1, keepdim=True)) * d_FD
    torch.testing.assert_close(w_FD, W_enc_FD.detach())
    loss(w_FD, d_FD).backward()
    torch.testing.assert_close(W_enc_FD.grad, v_FD.grad)
    torch.testing.assert_close(W_dec_FD.grad, d_FD.grad)
    assert (W_enc_FD.grad * W_dec_FD).sum(1).abs().max() < 1e-12


def test_aligning_moves_rows_along_the_decoder_only():
    W_enc_FD, W_dec_FD = rows()
    before_FD = W_enc_FD.detach().clone()
    align(W_enc_FD, W_dec_FD)
    torch.testing.assert_close(inner_products(W_enc_FD, W_dec_FD), torch.ones(F, dtype=torch.float64))
    moved_FD = W_enc_FD.detach() - before_FD
    torch.testing.assert_close(moved_FD, (moved_FD * W_dec_FD).sum(1, keepdim=True) * W_dec_FD.detach())


def test_rows_without_a_gradient_are_left_alone():
    W_enc_FD, W_dec_FD = rows()
    align_gradients(W_enc_FD, W_dec_FD)
    assert W_enc_FD.grad is None and W_dec_FD.grad is None
    W_enc_FD.grad = torch.ones_like(W_enc_FD)
    align_gradients(W_enc_FD, W_dec_FD)
    assert W_dec_FD.grad is None, "a frozen decoder stays frozen"


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_the_planted_features_are_found(kind):
    planted = world(n_true=24, d_model=D, n_tokens=4096, p_active=0.08)
    kind = dataclasses.replace(kind, n_features=24, k=3)
    found = train(planted.batches(64), kind, settings=TrainSettings(epochs=6, lr=1e-2))
    assert matched_cosine(found.W_dec, planted.truth_GD) > 0.85


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: type(kind).__name__)
def test_a_dictionary_that_is_not_aligned_is_refused(kind):
    member, _ = products_after(kind, steps=5)
    fresh = kind.build(D, generator=torch.Generator().manual_seed(1))
    fresh.adopt(member.fold(), member.scale)
    other, _ = products_after(dataclasses.replace(kind, aligned=False), steps=60)
    with pytest.raises(ConfigError, match=r"not aligned: .* inner products from .* go on without aligned"):
        fresh.adopt(other.fold(), other.scale)
