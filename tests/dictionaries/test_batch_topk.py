"""BatchTopK beyond the contract: selection over the batch, the running threshold, and their traps."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.batch_selection import k_at
from bathyscope.dictionaries.batch_topk import BatchTopK, BatchTopKTrainee
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels import engine
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.running_threshold import RunningThreshold, least_kept
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F, K = 16, 40, 3


def trainee(*, seed: int = 0, **settings: object) -> BatchTopKTrainee:
    kind = BatchTopK(**{"n_features": F, "k": K, "dead_after_tokens": 100, **settings})  # pyright: ignore[reportArgumentType]
    found = kind.build(D, generator=torch.Generator().manual_seed(seed))
    with torch.no_grad():
        found.b_enc_F += 0.1 * torch.randn(F, generator=torch.Generator().manual_seed(seed + 1))
        found.b_pre_D += 1.0
    return found.double()


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def dense_codes(found: BatchTopKTrainee, x_ND: Tensor, n_keep: int) -> Tensor:
    """The batch's codes by hand."""
    codes_NF = ((x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F).relu().detach()
    return torch.where(codes_NF >= codes_NF.flatten().topk(n_keep).values.min(), codes_NF, 0)


def test_the_loss_is_the_papers_formula():
    found, x_ND = trainee(k_aux=2), draw(50, D)
    found.silence.tokens_F[:7] = 10**6
    codes_NF = dense_codes(found, x_ND, 50 * K)
    residual_ND = x_ND - codes_NF @ found.W_dec_FD - found.b_pre_D
    is_dead_F = (torch.arange(F) < 7) & ((codes_NF > 0).sum(0) == 0)
    assert is_dead_F.any() and not is_dead_F[:7].all(), "a feature that fires in this batch is alive again"
    pre_NF = ((x_ND - found.b_pre_D) @ found.W_enc_FD.T + found.b_enc_F).masked_fill(~is_dead_F, -torch.inf)
    top = pre_NF.topk(2)
    guess_ND = torch.zeros_like(pre_NF).scatter(1, top.indices, top.values.relu()) @ found.W_dec_FD
    error = residual_ND.square().sum() / (x_ND - x_ND.mean(0)).square().sum()
    auxiliary = (residual_ND - guess_ND).square().sum() / (residual_ND - residual_ND.mean(0)).square().sum()
    loss = found.loss(x_ND)
    assert float(loss.total.detach()) == pytest.approx(float((error + auxiliary / 32).detach()))
    assert float(loss.squared_error) == pytest.approx(float(residual_ND.detach().square().sum()))
    assert torch.equal(loss.fires_F, (codes_NF > 0).sum(0))
    assert float(loss.seen["least kept"]) == pytest.approx(float(codes_NF[codes_NF > 0].min()))


def test_the_number_of_active_features_varies_between_tokens_while_training():
    found, x_ND = trainee(), draw(60, D) * torch.linspace(0.3, 2, 60).double()[:, None]
    pairs = found.select(x_ND)
    n_active_N = (pairs.values_NK > 0).sum(1)
    assert int(n_active_N.sum()) == K * 60
    assert int(n_active_N.max()) > K > int(n_active_N.min())


def test_a_code_does_not_depend_on_batch_mates_though_the_training_codes_do():
    found, x_ND = trainee(), draw(60, D)
    found.start(x_ND)
    mates_ND = torch.cat([x_ND[:5], 10 * draw(60, D, seed=1)])
    assert torch.equal(found.encode(x_ND).dense()[:5], found.encode(mates_ND).dense()[:5])
    chosen = [Codes(*found.select(batch), F).dense()[:5] for batch in (x_ND, mates_ND)]
    assert not torch.equal(chosen[0], chosen[1])


def test_the_encoder_bias_is_used_in_training_and_after():
    found, x_ND = trainee(), draw(60, D)
    found.start(x_ND)
    both = (lambda: Codes(*found.select(x_ND), F).dense(), lambda: found.encode(x_ND).dense())
    before = [codes().detach() for codes in both]
    with torch.no_grad():
        found.b_enc_F[3] += 50
    wanted_N = (x_ND - found.b_pre_D) @ found.W_enc_FD[3] + found.b_enc_F[3]
    for codes, old_NF in zip(both, before, strict=True):
        torch.testing.assert_close(codes()[:, 3], wanted_N)
        assert not torch.equal(codes(), old_NF)


def gradients(outcome: Tensor, module: BatchTopKTrainee) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    outcome.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def test_the_auxiliary_loss_gives_the_encoder_a_gradient_and_takes_the_residual_as_fixed():
    found, x_ND = trainee(aux_coefficient=1000.0, k_aux=2), draw(20, D) / 4
    fires_F = found.loss(x_ND).fires_F
    is_dead_F = fires_F == 0
    assert is_dead_F.any()
    found.silence.tokens_F[:] = torch.where(is_dead_F, 10**6, 0)
    with_auxiliary = gradients(found.loss(x_ND).total, found)
    assert with_auxiliary["W_enc_FD"][is_dead_F].abs().sum() > 0
    found.silence.tokens_F[:] = 0
    without = gradients(found.loss(x_ND).total, found)
    for name in ("W_enc_FD", "W_dec_FD", "b_enc_F"):
        torch.testing.assert_close(with_auxiliary[name][~is_dead_F], without[name][~is_dead_F])


def test_the_threshold_is_the_average_of_the_least_kept_codes_from_the_first_batch_on():
    threshold = RunningThreshold(0.25)
    seen = [4.0, 2.0, 3.0]
    for n in range(1, 4):
        threshold.update(torch.tensor(seen[n - 1]))
        weights = [0.75 ** (n - 1 - i) for i in range(n)]
        wanted = sum(w * m for w, m in zip(weights, seen, strict=False)) / sum(weights)
        assert float(threshold.read()) == pytest.approx(wanted)


def test_the_threshold_survives_batches_without_codes():
    found = trainee()
    found.start(draw(50, D))
    before = found.threshold.read().clone()
    with torch.no_grad():
        found.b_enc_F -= 100
    loss = found.loss(draw(50, D, seed=2))
    assert int(loss.fires_F.sum()) == 0 and loss.total.isfinite()
    found.after_step(loss)
    found.threshold.update(torch.tensor(torch.nan))
    assert torch.equal(found.threshold.read(), before)
    assert float(least_kept(torch.zeros(3, 2))) == torch.inf


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_the_threshold_stays_float32_and_goes_on_moving_when_the_rest_is_cast(dtype):
    found = trainee()
    found.threshold.set(torch.tensor(1.2345678))
    found = found.to(dtype)
    assert found.W_dec_FD.dtype == dtype
    assert found.threshold.read().dtype == torch.float32 and float(found.threshold.read()) == pytest.approx(1.2345678)
    found.threshold.update(torch.tensor(1.24, dtype=dtype))
    assert 1.2345678 < float(found.threshold.read()) < 1.236, "a step too small for bfloat16"


def test_the_threshold_is_a_part_of_the_saved_state():
    found, other = trainee(), trainee(seed=1)
    found.start(draw(50, D))
    other.load_state_dict(found.state_dict())
    assert torch.equal(other.threshold.read(), found.threshold.read())


def test_an_unset_threshold_is_refused_by_name():
    found = trainee()
    for use in (lambda: found.fold(1.0), lambda: found.encode(draw(3, D))):
        with pytest.raises(ConfigError, match="threshold is unset"):
            use()


def test_a_threshold_calibrated_on_the_sample_is_right_before_any_step():
    found, planted = trainee(k_anneal=0.0), world(n_true=F, d_model=D, n_tokens=4096)
    found.start(planted.x_ND.double())
    assert found.encode(planted.x_ND.double()).l0() == pytest.approx(K, rel=0.05)


@pytest.mark.parametrize("settings", [{"k_anneal": 0.0}, {}], ids=["constant k", "falling k"])
def test_l0_under_the_threshold_is_k_on_held_out_data_after_a_short_run(settings):
    planted = world(n_true=F, d_model=D, n_tokens=8192, seed=4)
    train_ND, held_out_ND = planted.x_ND[:4096], planted.x_ND[4096:]
    kind = BatchTopK(n_features=F, k=K, dead_after_tokens=2000, **settings)
    dictionary = train(list(train_ND.split(128)), kind, settings=TrainSettings(epochs=8))
    assert dictionary.encode(held_out_ND).l0() == pytest.approx(K, rel=0.05)
    assert dictionary.threshold is not None
    torch.testing.assert_close(dictionary.threshold, dictionary.threshold[:1].expand(F))


def test_k_falls_linearly_over_its_share_of_the_run():
    kind = BatchTopK(n_features=F, k=4, k_start=20, k_anneal=0.5)
    assert [k_at(kind, p) for p in (0.0, 0.25, 0.5, 0.75, 1.0)] == [20, 12, 4, 4, 4]
    assert [k_at(BatchTopK(n_features=F, k=4, k_anneal=0.0), p) for p in (0.0, 1.0)] == [4, 4]
    assert [k_at(BatchTopK(n_features=F, k=4), p) for p in (0.0, 0.25, 0.5, 1.0)] == [6, 5, 4, 4]
    assert k_at(BatchTopK(n_features=4608, k=32), 0.0) == 128, "four times k where there are features enough"
    found, x_ND = trainee(k=4, k_start=20, k_anneal=0.5), 5 * draw(50, D)
    n_kept = [int((found.select(x_ND, progress=p).values_NK > 0).sum()) for p in (0.0, 0.25, 1.0)]
    assert n_kept[1:] == [600, 200] and n_kept[0] > 600
    assert int(found.loss(x_ND, progress=0.25).fires_F.sum()) == 600


def test_a_dictionary_without_a_single_threshold_cannot_be_gone_on_from():
    found = trainee().float()
    found.start(draw(50, D).float())
    dictionary = found.fold(1.0)
    weights = dataclasses.replace(dictionary.weights, threshold=torch.linspace(0.5, 1, F))
    with pytest.raises(ConfigError, match=r"thresholds from 0\.5 to 1"):
        trainee().adopt(dataclasses.replace(dictionary, weights=weights), 1.0)
    positive = ReLU(n_features=F).build(D, generator=torch.Generator().manual_seed(0)).fold(1.0)
    with pytest.raises(ConfigError, match="this kind keeps Above"):
        trainee().adopt(positive, 1.0)


def test_training_on_fast_paths_follows_training_on_references(monkeypatch):
    planted = world(n_true=F, d_model=D, n_tokens=4096, seed=2)
    kind = BatchTopK(n_features=F, k=K, dead_after_tokens=500)
    curves: list[list[float]] = []
    for fast in (True, False):
        if not fast:
            monkeypatch.setattr(engine, "COMPILED", ())
        member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
        member.start(planted.x_ND)
        curves.append([])
        for x_ND in planted.batches(64):
            member.step(x_ND, progress=0.5)
            curves[-1].append(member.read()["loss"])
    assert curves[0][-1] < 0.9 * curves[0][0]
    assert curves[0] == pytest.approx(curves[1], rel=1e-4)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_features": 8, "k": 9}, "k is 9: expected 1 to n_features = 8"),
        ({"k": 32, "k_start": 16, "k_anneal": 0.5}, "k_start is 16: expected k = 32"),
        ({"k_start": 64, "k_anneal": 0.0}, "k_anneal is 0.0 and k_start 64"),
        ({"k_start": 64, "k_anneal": 1.5}, "k_anneal is 1.5"),
        ({"k_aux": 0}, "k_aux is 0"),
        ({"aux_coefficient": -1.0}, "aux_coefficient is -1.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
        ({"threshold_rate": 0.0}, "threshold_rate is 0.0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        BatchTopK(**settings)
