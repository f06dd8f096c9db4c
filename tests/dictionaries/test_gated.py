"""Gated beyond the contract: the three summands, what the auxiliary one leaves alone, the exact folded form."""

import dataclasses

import pytest
import torch
from dictionaries.planted import world
from torch import Tensor

from bathyscope.dictionaries.gated import Gated, GatedTrainee
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.rules import Above, Positive
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F = 16, 40


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X_ND = draw(60, D, seed=1)


def trainee(**settings: float) -> GatedTrainee:
    found = Gated(n_features=F, **settings).build(D, generator=torch.Generator().manual_seed(0)).double()  # pyright: ignore[reportArgumentType]
    with torch.no_grad():
        found.b_gate_F += 0.3 * draw(F, seed=2)
        found.b_mag_F += 0.3 * draw(F, seed=3)
        found.r_mag_F += 0.5 * draw(F, seed=4)
        found.b_dec_D += 0.2
    return found


def gradients(outcome: Tensor, module: GatedTrainee) -> dict[str, Tensor]:
    module.zero_grad(set_to_none=True)
    outcome.backward()
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def by_hand(found: GatedTrainee) -> tuple[Tensor, Tensor]:
    """Gate before its ReLU, and codes."""
    centred_ND = X_ND - found.b_dec_D
    pi_NF = centred_ND @ found.W_enc_FD.T + found.b_gate_F
    reads_NF = centred_ND @ (found.W_enc_FD * found.r_mag_F.exp()[:, None]).T
    return pi_NF, (pi_NF > 0) * (reads_NF + found.b_mag_F).relu()


def test_the_loss_is_the_papers_formula():
    found = trainee(l1=3.0)
    pi_NF, codes_NF = by_hand(found)
    error = (X_ND - codes_NF @ found.W_dec_FD - found.b_dec_D).square().sum(1).mean()
    gate_error = (X_ND - pi_NF.relu() @ found.W_dec_FD - found.b_dec_D).square().sum(1).mean()
    wanted = error + 3 * pi_NF.relu().sum(1).mean() + gate_error
    assert float(found.loss(X_ND).total.detach()) == pytest.approx(float(wanted.detach()))


@pytest.mark.parametrize("part", ["gate_error", "gate_size"])
@pytest.mark.parametrize("path", [GatedTrainee.sparse, GatedTrainee.dense])
def test_the_auxiliary_path_leaves_the_decoder_and_its_bias_untouched(path, part):
    found = trainee()
    slopes = gradients(getattr(path(found, X_ND), part), found)
    assert slopes["W_enc_FD"].abs().max() > 0 and slopes["b_gate_F"].abs().max() > 0
    for name in ("W_dec_FD", "b_dec_D", "r_mag_F", "b_mag_F"):
        assert name not in slopes or slopes[name].abs().max() < 1e-12 * slopes["W_enc_FD"].abs().max(), name


def test_the_gate_learns_its_bias_from_the_penalty_and_the_auxiliary_path_alone():
    found = trainee()
    slopes = gradients(found.dense(X_ND).squared_error, found)
    assert "b_gate_F" not in slopes and slopes["b_mag_F"].abs().max() > 0


def test_gradients_equal_finite_differences_with_the_held_decoder_kept():
    found = trainee(l1=2.0)
    W_held_FD, b_held_D = found.W_dec_FD.detach().clone(), found.b_dec_D.detach().clone()

    def total() -> Tensor:
        _, codes_NF = by_hand(found)
        gate_NF = ((X_ND - b_held_D) @ found.W_enc_FD.T + found.b_gate_F).relu()
        error = (X_ND - codes_NF @ found.W_dec_FD - found.b_dec_D).square().sum(1).mean()
        return error + 2 * gate_NF.sum(1).mean() + (X_ND - gate_NF @ W_held_FD - b_held_D).square().sum(1).mean()

    slopes = gradients(found.loss(X_ND).total, found)
    assert set(slopes) == {name for name, _ in found.named_parameters()}
    for seed, (name, parameter) in enumerate(found.named_parameters()):
        direction, step, totals = draw(*parameter.shape, seed=20 + seed), 1e-7, []
        with torch.no_grad():
            for sign in (1, -2):
                parameter.add_(sign * step * direction)
                totals.append(float(total()))
            parameter.add_(step * direction)
        slope = (totals[0] - totals[1]) / (2 * step)
        assert float((slopes[name] * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-6), name


def test_pairs_give_the_values_and_gradients_of_the_dense_definition():
    found = trainee(l1=2.0)
    outcomes = []
    for n_pairs in (0.0, torch.inf):
        found.density.n_pairs.fill_(n_pairs)
        loss = found.loss(X_ND)
        outcomes.append((loss, gradients(loss.total, found)))
    (sparse, slopes), (dense, wanted) = outcomes
    torch.testing.assert_close(sparse.total, dense.total)
    assert torch.equal(sparse.fires_F, dense.fires_F) and sparse.seen["density"] == dense.seen["density"]
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, wanted[name], msg=lambda line, name=name: f"{name}: {line}")


@pytest.mark.parametrize("scale", [1.0, 0.3])
def test_the_folded_form_is_a_jumprelu_dictionary_with_the_same_codes(scale):
    found = trainee()
    with torch.no_grad():
        found.W_dec_FD *= torch.linspace(0.5, 2, F, dtype=torch.float64)[:, None]
    _, codes_NF = by_hand(found)
    dictionary = found.fold(scale)
    assert dictionary.rule == Above() and dictionary.threshold is not None
    assert (dictionary.threshold < 0).any() and (dictionary.threshold > 0).any()
    wanted_NF = codes_NF.detach() * found.W_dec_FD.detach().norm(dim=1) / scale
    torch.testing.assert_close(dictionary.encode(X_ND / scale).dense(), wanted_NF.float(), rtol=1e-4, atol=1e-4)


def test_going_on_from_a_dictionary_puts_both_paths_on_one_scale():
    found = trainee().float()
    dictionary = found.fold(2.0)
    again = Gated(n_features=F).build(D, generator=torch.Generator().manual_seed(7))
    again.adopt(dictionary, 2.0)
    assert float(again.r_mag_F.detach().abs().max()) == 0
    assert torch.equal(again.encode(X_ND.float()).dense() > 0, found.encode(X_ND.float()).dense() > 0)
    with pytest.raises(ConfigError, match="keeps Positive"):
        again.adopt(dataclasses.replace(dictionary, rule=Positive()), 2.0)


def test_lambda_rises_over_its_share_of_the_run():
    found = trainee(l1=5.0, l1_warm_up=0.1)
    parts = {p: float(found.loss(X_ND, progress=p).parts["sparsity"]) for p in (0.0, 0.05, 0.1, 1.0)}
    assert parts[0.0] == 0 and parts[0.05] == pytest.approx(parts[1.0] / 2) and parts[0.1] == parts[1.0]


def test_adam_has_no_momentum():
    assert Gated().optimisation(64).betas == (0.0, 0.999)


def test_decoder_rows_have_length_one_after_a_step():
    found = trainee()
    loss = found.loss(X_ND)
    with torch.no_grad():
        found.W_dec_FD *= 3
    found.after_step(loss)
    torch.testing.assert_close(found.W_dec_FD.detach().norm(dim=1), torch.ones(F, dtype=torch.float64))


def test_gates_shrink_less_than_a_penalty_on_the_codes_themselves():
    planted = world(n_true=64, d_model=32, n_tokens=6000)
    mean_D, ratios = planted.x_ND.mean(0), {}
    for kind in (Gated(n_features=64, l0=4), ReLU(n_features=64, l0=4)):
        guess_ND = train(planted.batches(250), kind, settings=TrainSettings(epochs=10)).reconstruct(planted.x_ND)
        lengths = [(x_ND - mean_D).norm(dim=1).mean() for x_ND in (guess_ND, planted.x_ND)]
        ratios[type(kind)] = float(lengths[0] / lengths[1])
    assert ratios[ReLU] + 0.1 < ratios[Gated] < 1.05


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"l1": -1.0}, "l1 is -1.0"),
        ({"l0": 0}, "l0 is 0"),
        ({"l0": 3, "l1": 0.0}, "l1 is 0, where l0 needs a weight"),
        ({"l1_warm_up": 2.0}, "l1_warm_up is 2.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Gated(**settings)
