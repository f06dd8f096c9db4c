"""Temporal beyond the contract: pairs of neighbours, the contrast's formula, what it does to high-level features."""

import math

import pytest
import torch
from dictionaries.planted import neighbours
from torch import Tensor

from bathyscope.dictionaries.blocks import SideBySide
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.temporal import Temporal, TemporalTrainee, contrast, leading_codes
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F, K = 16, 40, 3
HIGH = 8


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def trainee(**settings: object) -> TemporalTrainee:
    kind = Temporal(**{"n_features": F, "k": K, "dead_after_tokens": 100, **settings})  # pyright: ignore[reportArgumentType]
    return kind.build(2 * D, generator=torch.Generator().manual_seed(0)).double()


def codes_of(found: TemporalTrainee, x_ND: Tensor) -> Tensor:
    """Training codes of both tokens by hand: first all previous ones, then all others."""
    inner, both_MD = found.inner, torch.cat([x_ND[:, :D], x_ND[:, D:]])
    codes_MF = ((both_MD - inner.b_pre_D) @ inner.W_enc_FD.T + inner.b_enc_F).relu()
    return torch.where(codes_MF >= codes_MF.flatten().topk(K * len(both_MD)).values.min(), codes_MF, 0)


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "normalise": False}], ids=["ours", "the paper's"])
def test_the_loss_is_the_formula(settings):
    found, x_ND = trainee(contrast=0.7, **settings), draw(30, 2 * D)
    codes_MF = codes_of(found, x_ND)
    both_MD, inner = torch.cat([x_ND[:, :D], x_ND[:, D:]]), found.inner
    errors = [(both_MD - inner.b_pre_D - codes_MF[:, :m] @ inner.W_dec_FD[:m]).square().sum() for m in (HIGH, F)]
    error = (errors[0] + errors[1]) / 2 / (both_MD - both_MD.mean(0)).square().sum()
    before_NH, after_NH = codes_MF[:30, :HIGH], codes_MF[30:, :HIGH]
    if not settings:
        before_NH, after_NH = (z / z.norm(dim=1, keepdim=True).clamp_min(1e-12) for z in (before_NH, after_NH))
    likeness_NN = after_NH @ before_NH.T / settings.get("temperature", 0.3)
    entropies = [-likeness_NN.log_softmax(dim).diagonal().mean() for dim in (0, 1)]
    wanted = error + 0.7 * (entropies[0] + entropies[1]) / 2
    assert float(found.loss(x_ND).total.detach()) == pytest.approx(float(wanted.detach()))


def test_figures_are_of_the_second_tokens():
    found, x_ND = trainee(), draw(30, 2 * D)
    loss, codes_NF = found.loss(x_ND), codes_of(found, x_ND)[30:]
    residual_ND = x_ND[:, D:] - codes_NF @ found.inner.W_dec_FD - found.inner.b_pre_D
    assert float(loss.squared_error) == pytest.approx(float(residual_ND.detach().square().sum()))
    assert torch.equal(loss.fires_F, (codes_NF > 0).sum(0))
    assert loss.target.n == 30
    assert torch.equal(found.example(x_ND).x_ND, x_ND[:, D:])


def test_the_contrast_lies_between_zero_and_the_logarithm_of_the_number_of_pairs():
    apart_NH = torch.eye(20)
    settings = {"temperature": 0.01, "normalise": True}
    assert float(contrast(apart_NH, apart_NH, **settings)) == pytest.approx(0, abs=1e-6)
    assert float(contrast(torch.ones(20, 5), torch.ones(20, 5), **settings)) == pytest.approx(math.log(20))
    assert float(contrast(apart_NH, apart_NH.flip(0), **settings)) > math.log(20)
    assert float(contrast(torch.zeros(20, 5), torch.zeros(20, 5), **settings)) == pytest.approx(math.log(20))


def test_only_high_level_codes_take_part_in_the_contrast_and_padding_never_does():
    values_NK = torch.tensor([[2.0, 3.0, 0.0], [5.0, 0.0, 0.0]], requires_grad=True)
    pairs = Pairs(values_NK, torch.tensor([[1, 6, 0], [0, 0, 0]]))
    z_NH = leading_codes(pairs, 4)
    assert z_NH.tolist() == [[0, 2, 0, 0], [5, 0, 0, 0]]
    (slope_NK,) = torch.autograd.grad(z_NH[0, 1], [values_NK])
    assert slope_NK.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_the_weight_zero_switches_the_contrast_off():
    x_ND = draw(30, 2 * D)
    assert set(trainee(contrast=0.0).loss(x_ND).parts) == {"error", "auxiliary"}
    once, twice = (trainee(contrast=weight).loss(x_ND).parts["contrast"] for weight in (1.0, 2.0))
    assert 0 < float(once) == pytest.approx(float(twice) / 2)


def test_the_contrast_needs_the_pairing():
    planted = neighbours(n_true=F, d_model=D, n_tokens=512)
    found = trainee()
    found.start(planted.x_ND.double())
    x_ND = planted.x_ND.double()
    mixed_ND = torch.cat([x_ND[:, :D], x_ND.roll(1, 0)[:, D:]], 1)
    assert float(found.loss(x_ND).parts["contrast"]) < float(found.loss(mixed_ND).parts["contrast"])


def test_the_folded_dictionary_is_an_ordinary_one_of_single_tokens():
    planted = neighbours(n_true=F, d_model=D, n_tokens=512)
    dictionary = train(planted.batches(128), Temporal(n_features=F, k=K), settings=TrainSettings(epochs=2))
    assert (dictionary.d_model, dictionary.n_features) == (D, F)
    found = trainee()
    found.adopt(dictionary, 2.0)
    torch.testing.assert_close(found.fold(2.0).W_enc, dictionary.W_enc)


def change(codes: tuple[Tensor, Tensor], features: slice) -> float:
    """How much codes differ between neighbours, as a share of what unrelated tokens would differ by."""
    before_NF, after_NF = (codes_NF[:, features] for codes_NF in codes)
    return float((before_NF - after_NF).square().sum() / (before_NF.square().sum() + after_NF.square().sum()))


def learnt(kind: Temporal | Matryoshka, x_NW: Tensor) -> Dictionary:
    """Trained on pairs, or on the same tokens one by one, in as many steps."""
    is_paired = isinstance(kind, Temporal)
    x_ND = x_NW if is_paired else torch.cat(x_NW.split(x_NW.shape[1] // 2, dim=1))
    order = torch.randperm(len(x_ND), generator=torch.Generator().manual_seed(0))
    batches = list(x_ND[order].split(256 if is_paired else 512))
    return train(batches, kind, settings=TrainSettings(epochs=16, lr=1e-2))


def test_high_level_codes_change_less_between_neighbours_than_low_level_ones_and_than_those_of_matryoshka():
    """In such worlds the default weight and temperature nearly halve the change; the error stays about as it was."""
    x_NW = neighbours(n_true=64, d_model=32).x_ND
    train_NW, held_out_NW = x_NW[:6144], x_NW[6144:]
    kinds = (Temporal(n_features=64, k=4), Matryoshka(n_features=64, k=4, groups=(0.2, 1.0)))
    high, low, explained = [], [], []
    for kind in kinds:
        dictionary = learnt(kind, train_NW)
        before_ND, after_ND = held_out_NW.split(32, dim=1)
        codes = (dictionary.encode(before_ND).dense(), dictionary.encode(after_ND).dense())
        high.append(change(codes, slice(0, 13)))
        low.append(change(codes, slice(13, 64)))
        error = (after_ND - dictionary.reconstruct(after_ND)).square().sum()
        explained.append(float(1 - error / (after_ND - after_ND.mean(0)).square().sum()))
    assert high[0] < 0.7 * low[0]
    assert high[0] < 0.8 * high[1]
    assert explained[0] > explained[1] - 0.04


def test_the_places_of_a_batch_are_the_previous_token_and_the_token():
    kind = Temporal(n_features=F, k=K)
    assert isinstance(kind, SideBySide) and kind.reads_previous and kind.split(2 * D) == (D, D)
    with pytest.raises(ConfigError, match="width 33 does not divide into 2"):
        kind.build(33, generator=torch.Generator())


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"high_level": 0.0}, "high_level is 0.0"),
        ({"high_level": 1.0}, "high_level is 1.0"),
        ({"high_level": 0.001}, "high_level is 0.001"),
        ({"contrast": -1.0}, "contrast is -1.0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Temporal(**{"n_features": 64, "k": 4, **settings})
