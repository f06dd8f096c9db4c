"""AbsTopK beyond the contract: signed codes, their gradients, and features that fire with the negative sign alone."""

import dataclasses

import pytest
import torch
from dictionaries.planted import matched_cosine, world
from torch import Tensor

from bathyscope.dictionaries.abs_topk import AbsTopK, AbsTopKTrainee
from bathyscope.dictionaries.kernels import auxiliary, encode, select
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.rules import LargestAbsolute
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

N, D, F, K = 50, 16, 40, 3


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def leaf(*shape: int, seed: int) -> Tensor:
    return draw(*shape, seed=seed).requires_grad_()


def trainee(**settings: object) -> AbsTopKTrainee:
    kind = AbsTopK(**{"n_features": F, "k": K, "dead_after_tokens": 100, **settings})  # pyright: ignore[reportArgumentType]
    found = kind.build(D, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found.b_enc_F += 0.1 * torch.randn(F, generator=torch.Generator().manual_seed(1))
        found.b_pre_D += 1.0
    return found.double()


def by_column(pairs: select.Pairs) -> tuple[Tensor, Tensor]:
    order = pairs.indices_NK.argsort(dim=1)
    return pairs.values_NK.gather(1, order), pairs.indices_NK.gather(1, order)


@pytest.mark.parametrize(("n_features", "k"), [(1, 1), (64, 64), (257, 5), (1000, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_signed_selection_equals_its_reference(n_features, k, dtype):
    pre_NF = draw(30, n_features, seed=n_features, dtype=dtype)
    before_NF = pre_NF.clone()
    values, indices = by_column(select.select_largest(pre_NF, k, absolute=True))
    wanted_values, wanted_indices = by_column(select.select_largest_reference(pre_NF, k, absolute=True))
    assert torch.equal(indices, wanted_indices) and torch.equal(values, wanted_values)
    assert torch.equal(pre_NF, before_NF) and (values < 0).any()


def test_signed_selection_takes_the_lowest_columns_among_equal_sizes_and_hides_no_nan():
    pre_NF = torch.tensor([[1.0, -2.0, 1.0, -1.0, 2.0, -1.0]]).repeat(1, 40)
    assert select.select_largest(pre_NF, 4, absolute=True).indices_NK.tolist() == [[1, 4, 7, 10]]
    pre_NF = torch.full((1, 30), torch.nan)
    pre_NF[0, 4] = -3
    pairs = select.select_largest(pre_NF, 2, absolute=True)
    assert 4 in pairs.indices_NK[0].tolist() and int(pairs.values_NK.isnan().sum()) == 1


@pytest.mark.parametrize("chunk_bytes", [encode.CHUNK_BYTES, 4 * F * 8])
def test_signed_encode_equals_its_reference_with_every_gradient(chunk_bytes, monkeypatch):
    monkeypatch.setattr(encode, "CHUNK_BYTES", chunk_bytes)
    leaves, weight = [leaf(N, D, seed=0), leaf(D, seed=1), leaf(F, D, seed=2), leaf(F, seed=3)], draw(N, F, seed=9)
    outcomes = []
    for function in (encode.encode_largest, encode.encode_largest_reference):
        pairs = function(*leaves, K, absolute=True)
        slopes = torch.autograd.grad((pairs.values_NK * weight.gather(1, pairs.indices_NK)).sum(), leaves)
        outcomes.append((*by_column(pairs), *slopes))
    assert (outcomes[0][0] < 0).any() and (outcomes[0][0] > 0).any()
    torch.testing.assert_close(outcomes[0], outcomes[1])


@pytest.mark.parametrize("k", [3, 100])
@pytest.mark.parametrize("n_dead", [0, 1, 3, 30])
def test_the_signed_auxiliary_guess_equals_its_reference_with_every_gradient(n_dead, k):
    leaves = [leaf(N, D, seed=0), leaf(F, D, seed=1), leaf(F, seed=2), leaf(F, D, seed=3)]
    dead_F = torch.zeros(F, dtype=torch.bool)
    dead_F[torch.randperm(F, generator=torch.Generator().manual_seed(0))[:n_dead]] = True
    outcomes = []
    for function in (auxiliary.auxiliary_guess, auxiliary.auxiliary_guess_reference):
        guess_ND = function(leaves[0], dead_F, *leaves[1:], k, absolute=True)
        outcome = (guess_ND * draw(N, D, seed=7)).sum() + 0 * sum(x.sum() for x in leaves)
        outcomes.append((guess_ND, *torch.autograd.grad(outcome, leaves)))
    torch.testing.assert_close(outcomes[0], outcomes[1])
    assert (outcomes[0][2].abs().sum() > 0) == (n_dead > 0)


def test_the_loss_is_the_papers_formula_with_a_signed_auxiliary_guess():
    found, x_ND = trainee(k_aux=2), draw(N, D)
    with torch.no_grad():
        found.W_enc_FD[:7] *= 0.1
        found.b_enc_F[:7] = 0
    found.silence.tokens_F[:7] = 10**6
    fires_F = found.encode(x_ND).fires()
    pre_NF = (x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F
    kept = pre_NF.abs().topk(K).indices
    codes_NF = torch.zeros_like(pre_NF).scatter(1, kept, pre_NF.gather(1, kept))
    assert (codes_NF < 0).any() and bool(((codes_NF != 0).sum(1) == K).all())
    residual_ND = x_ND - codes_NF @ found.W_dec_FD - found.b_pre_D
    is_dead_F = (torch.arange(F) < 7) & (fires_F == 0)
    assert is_dead_F.any()
    top = (pre_NF * is_dead_F).abs().topk(2).indices
    guess_ND = torch.zeros_like(pre_NF).scatter(1, top, pre_NF.gather(1, top)) * is_dead_F @ found.W_dec_FD
    error = residual_ND.square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    aside = (residual_ND - guess_ND).square().sum() / (residual_ND - residual_ND.mean(0)).square().sum()
    assert float(found.loss(x_ND).total.detach()) == pytest.approx(float((error + aside / 32).detach()))


def test_gradients_reach_the_encoder_through_negative_codes():
    found = trainee(aux_coefficient=0.0)
    x_ND = 0.05 * draw(N, D) - 3 * found.W_dec_FD.detach()[4] + found.b_pre_D.detach()
    codes_NF = found.encode(x_ND).dense()
    assert (codes_NF[:, 4] < 0).all()
    found.loss(x_ND).total.backward()
    assert found.W_enc_FD.grad is not None and found.W_enc_FD.grad[4].abs().sum() > 0


def test_a_feature_that_fires_with_the_negative_sign_alone_is_alive():
    found = trainee()
    x_ND = 0.05 * draw(N, D) - 3 * found.W_dec_FD.detach()[4] + found.b_pre_D.detach()
    loss = found.loss(x_ND)
    assert int(loss.fires_F[4]) == N and float(loss.fires_F.sum()) == N * K
    found.silence.update(loss.fires_F, N)
    assert int(found.silence.tokens_F[4]) == 0
    assert found.fold(1.0).rule == LargestAbsolute(k=K)


def test_one_feature_holds_a_concept_and_its_opposite():
    planted = world(n_true=24, d_model=32, n_tokens=10)
    generator = torch.Generator().manual_seed(3)
    is_active = torch.rand(4096, 24, generator=generator) < 0.08
    amounts = 1 + torch.rand(4096, 24, generator=generator)
    signs = torch.where(torch.rand(4096, 24, generator=generator) < 0.5, -1.0, 1.0)
    batches = list(((is_active * amounts * signs) @ planted.truth_GD).split(64))
    found = list[tuple[float, float, float]]()  # of three seeds: one alone may be lucky
    for seed in range(3):
        settings = TrainSettings(epochs=6, seed=seed)
        signed = train(batches, AbsTopK(n_features=24, k=3), settings=settings)
        unsigned = train(batches, TopK(n_features=24, k=3), settings=settings)
        assert signed.min_activation is not None and signed.max_activation is not None
        assert unsigned.min_activation is None
        both_F = (signed.min_activation < 0) & (signed.max_activation > 0)
        explained, less = (made.training["survey"]["variance_explained"] for made in (signed, unsigned))
        cosine = float(matched_cosine(signed.W_dec, planted.truth_GD))
        found.append((cosine, explained - less, float(both_F.float().mean())))
    cosine, gain, both = torch.tensor(found).mean(0).tolist()
    assert cosine > 0.85 and gain > 0.1 and both > 0.9


@pytest.mark.parametrize("coefficient", [0.0, 1 / 4])
def test_the_auxiliary_loss_revives_dead_features(coefficient):
    kind = AbsTopK(n_features=F, k=K, dead_after_tokens=1000, aux_coefficient=coefficient)
    member = Member(kind, d_model=D, optimisation=dataclasses.replace(kind.optimisation(D), lr=1e-2), seed=0)
    planted = world(n_true=F, d_model=D, n_tokens=2048)
    member.start(planted.x_ND)
    with torch.no_grad():
        member.trainee.get_parameter("W_enc_FD")[:10] *= 1e-3
    last_fired_F = torch.zeros(F)
    for step, x_ND in enumerate(planted.batches(256) * 12):
        member.step(x_ND, progress=0.5)
        last_fired_F[member.trainee.silence.tokens_F == 0] = step
    n_revived = int((last_fired_F[:10] > 48).sum())
    assert n_revived >= 5 if coefficient else n_revived <= 1


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_features": 8, "k": 9}, "k is 9: expected 1 to n_features = 8"),
        ({"k_aux": 0}, "k_aux is 0"),
        ({"aux_coefficient": -1.0}, r"aux_coefficient is -1\.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        AbsTopK(**settings)
