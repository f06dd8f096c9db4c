"""Matryoshka beyond the contract: nested errors from one selection, weights that count once, and its traps."""

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.config import to_json
from bathyscope.dictionaries.batch_topk import BatchTopK, BatchTopKTrainee
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels import nested, threads
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

N, D, F, K = 23, 12, 40, 5


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trainee(**settings: object) -> BatchTopKTrainee:
    kind = Matryoshka(**{"n_features": F, "k": 3, "dead_after_tokens": 100, **settings})  # pyright: ignore[reportArgumentType]
    found = kind.build(D, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found.b_enc_F += 0.1 * torch.randn(F, generator=torch.Generator().manual_seed(1))
        found.b_pre_D += 1.0
    return found.double()


def pairs_of_tokens() -> tuple[Tensor, Tensor]:
    """Values and features in any order, with padding at the end."""
    indices_NK = torch.stack([torch.randperm(F, generator=torch.Generator().manual_seed(n))[:K] for n in range(N)])
    values_NK = draw(N, K, seed=1)
    indices_NK[::3, -2:], values_NK[::3, -2:] = 0, 0
    return values_NK.requires_grad_(), indices_NK


@pytest.mark.parametrize("sizes", [(F,), (1, F), (0, 3, 10, F), (5, 10, 20, F), (0, 7, 30)])
@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_nested_error_equals_its_reference_with_every_gradient(sizes, n_threads, monkeypatch):
    monkeypatch.setattr(threads.torch, "get_num_threads", lambda: n_threads)
    values_NK, indices_NK = pairs_of_tokens()
    x_ND, W_dec_FD, b_dec_D = (t.requires_grad_() for t in (draw(N, D, seed=2), draw(F, D, seed=3), draw(D, seed=4)))
    leaves, weights_G = [x_ND, values_NK, W_dec_FD, b_dec_D], draw(len(sizes), seed=6)
    outcomes = []
    for function in (nested.nested_error, nested.nested_error_reference):
        error = function(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, sizes)
        assert not error.residual_ND.requires_grad
        outcomes.append((error, torch.autograd.grad(weights_G @ error.squared_G, leaves)))
    torch.testing.assert_close(outcomes[0], outcomes[1])
    assert all(slope.abs().max() > 0 for slope in outcomes[0][1])


def test_the_nested_error_is_that_of_dense_prefixes():
    values_NK, indices_NK = pairs_of_tokens()
    x_ND, W_dec_FD, b_dec_D = draw(N, D, seed=2), draw(F, D, seed=3), draw(D, seed=4)
    codes_NF = Codes(values_NK.detach(), indices_NK, F).dense()
    found = nested.nested_error(x_ND, values_NK, indices_NK, W_dec_FD, b_dec_D, (0, 4, F)).squared_G.detach()
    wanted = [(x_ND - b_dec_D - codes_NF[:, :m] @ W_dec_FD[:m]).square().sum() for m in (0, 4, F)]
    torch.testing.assert_close(found, torch.stack(wanted))


@pytest.mark.parametrize(
    ("settings", "sizes", "weights"),
    [
        ({}, (2, 5, 10, 20, 40), (0.2,) * 5),
        ({"groups": (0.25, 1.0), "group_weights": (3.0, 1.0)}, (10, 40), (0.75, 0.25)),
        ({"groups": (0.5, 1.0), "bias_weight": 2.0}, (0, 20, 40), (0.5, 0.25, 0.25)),
        ({"groups": (1.0,)}, (40,), (1.0,)),
    ],
)
def test_the_loss_is_the_formula_with_weights_that_count_once(settings, sizes, weights):
    found, x_ND = trainee(**settings), draw(50, D)
    found.silence.tokens_F[:7] = 10**6
    codes_NF = ((x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F).relu()
    codes_NF = torch.where(codes_NF >= codes_NF.flatten().topk(150).values.min(), codes_NF, 0)
    errors = [(x_ND - found.b_pre_D - codes_NF[:, :m] @ found.W_dec_FD[:m]).square().sum() for m in sizes]
    error = sum(w * e for w, e in zip(weights, errors, strict=True)) / (x_ND - x_ND.mean(0)).square().sum()
    residual_ND = (x_ND - found.b_pre_D - codes_NF @ found.W_dec_FD).detach()
    is_dead_F = (torch.arange(F) < 7) & ((codes_NF > 0).sum(0) == 0)
    auxiliary = found.auxiliary(x_ND, residual_ND, is_dead_F)
    loss = found.loss(x_ND)
    assert is_dead_F.any() and float(auxiliary.detach()) > 0
    assert float(loss.total.detach()) == pytest.approx(float((error + auxiliary / 32).detach()))
    assert float(loss.squared_error) == pytest.approx(float(errors[-1].detach()))
    assert sum(found.prefixes.weights) == pytest.approx(1)


def test_more_prefixes_do_not_change_the_balance_between_error_and_auxiliary_loss():
    """Weights that were also averaged over the prefixes would make the error smaller by their number."""
    x_ND, errors = draw(50, D), []
    for groups, weights in (((1.0,), (1.0,)), ((0.25, 0.5, 1.0), (0.0, 0.0, 7.0))):
        errors.append(float(trainee(groups=groups, group_weights=weights).loss(x_ND).parts["error"]))
    assert errors[1] == pytest.approx(errors[0])


def test_the_first_prefix_reconstructs_with_the_codes_of_the_whole(monkeypatch):
    found, x_ND = trainee(groups=(0.25, 1.0)), draw(50, D)
    calls: list[int] = []
    original = found.select
    monkeypatch.setattr(found, "select", lambda x, progress: calls.append(len(x)) or original(x, progress=progress))
    loss = found.loss(x_ND)
    assert calls == [50], "codes are selected once, not once for each prefix"
    codes_NF = Codes(*original(x_ND), F).dense()
    assert torch.equal(loss.fires_F, (codes_NF > 0).sum(0))
    alone = found.error(x_ND, original(x_ND)).squared_G[0]
    wanted = (x_ND - found.b_pre_D - codes_NF[:, :10] @ found.W_dec_FD[:10]).square().sum()
    assert float(alone.detach()) == pytest.approx(float(wanted.detach()))
    within_prefix = codes_NF[:, :10].flatten().topk(min(150, 500)).values
    assert int((within_prefix > 0).sum()) < 150, "a selection inside the prefix would keep more of its features"


def test_one_prefix_of_all_features_is_batch_topk():
    x_ND = world(n_true=F, d_model=D, n_tokens=2048, seed=2).x_ND
    kinds = (BatchTopK(n_features=F, k=3), Matryoshka(n_features=F, k=3, groups=(1.0,)))
    plain, nested = (train(list(x_ND.split(256)), kind, settings=TrainSettings(epochs=2)) for kind in kinds)
    assert plain.digest == nested.digest


def test_the_residual_of_the_auxiliary_loss_is_that_of_the_whole_and_fixed():
    found, x_ND = trainee(aux_coefficient=1000.0), draw(50, D) / 4
    is_dead_F = found.loss(x_ND).fires_F == 0
    assert is_dead_F.any()
    slopes = []
    for silent in (torch.where(is_dead_F, 10**6, 0), torch.zeros(F, dtype=torch.int64)):
        found.silence.tokens_F[:] = silent
        found.zero_grad(set_to_none=True)
        found.loss(x_ND).total.backward()
        assert found.W_dec_FD.grad is not None and found.W_enc_FD.grad is not None
        slopes.append((found.W_dec_FD.grad.clone(), found.W_enc_FD.grad.clone()))
    for with_auxiliary, without in zip(*slopes, strict=True):
        torch.testing.assert_close(with_auxiliary[~is_dead_F], without[~is_dead_F])
        assert with_auxiliary[is_dead_F].abs().sum() > 0, "matryoshka_sae gave the encoder none"


def test_small_prefixes_explain_more_than_those_of_batch_topk():
    planted = world(n_true=F, d_model=D, n_tokens=4096, seed=3)
    explained = []
    for kind in (Matryoshka(n_features=F, k=3, groups=(0.25, 1.0)), BatchTopK(n_features=F, k=3)):
        member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
        member.start(planted.x_ND)
        for step in range(160):
            member.step(planted.batches(256)[step % 16], progress=step / 160)
        x_ND, found = planted.x_ND * member.scale, member.trainee
        assert isinstance(found, BatchTopKTrainee)
        pairs = found.select(x_ND)
        error = nested.nested_error(x_ND, *pairs, found.W_dec_FD, found.b_pre_D, (10, F)).squared_G.detach()
        explained.append(1 - error / (x_ND - x_ND.mean(0)).square().sum())
    assert explained[0][0] > explained[1][0] + 0.1
    assert explained[0][1] < explained[1][1]


def test_the_groups_are_recorded_with_the_settings():
    assert to_json(Matryoshka(groups=(0.25, 1.0)))["groups"] == [0.25, 1.0]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"groups": ()}, "expected shares that rise to 1"),
        ({"groups": (0.5, 0.9)}, "expected shares that rise to 1"),
        ({"groups": (0.5, 0.25, 1.0)}, "expected shares that rise to 1"),
        ({"n_features": 64, "groups": (0.001, 1.0)}, r"have \(0, 64\) features"),
        ({"n_features": 64, "groups": (0.5, 0.501, 1.0)}, r"have \(32, 32, 64\) features"),
        ({"group_weights": (1.0, 1.0)}, "expected 5 numbers"),
        ({"groups": (0.5, 1.0), "group_weights": (1.0, -1.0)}, "none negative"),
        ({"groups": (0.5, 1.0), "group_weights": (1.0, 0.0)}, "the last one positive"),
        ({"bias_weight": -1.0}, "bias_weight is -1.0"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Matryoshka(**{"n_features": 64, "k": 4, **settings})
