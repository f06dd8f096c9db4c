"""ReLU beyond the contract: the penalty, its warm-up, shrinkage."""

import pytest
import torch
from dictionaries.planted import world

from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ConfigError

D, F = 16, 40
X_ND = torch.randn(50, D, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def trainee(**settings: float):
    kind = ReLU(n_features=F, **settings)  # pyright: ignore[reportArgumentType]
    found = kind.build(D, generator=torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        found.W_dec_FD *= torch.linspace(0.5, 3, F, dtype=torch.float64)[:, None]
    return found


def test_the_loss_is_the_papers_formula_with_the_penalty_counted_once():
    found = trainee(l1=5.0)
    codes_NF = (X_ND @ found.W_enc_FD.T + found.b_enc_F).relu()
    error = (X_ND - codes_NF @ found.W_dec_FD - found.b_dec_D).square().sum(1).mean()
    penalty = (codes_NF * found.W_dec_FD.norm(dim=1)).sum(1).mean()
    assert float(found.loss(X_ND).total.detach()) == pytest.approx(float((error + 5 * penalty).detach()))


def test_lambda_rises_over_its_share_of_the_run():
    found = trainee(l1=5.0, l1_warm_up=0.05)
    parts = {p: float(found.loss(X_ND, progress=p).parts["sparsity"]) for p in (0.0, 0.025, 0.05, 1.0)}
    assert parts[0.0] == 0
    assert parts[0.025] == pytest.approx(parts[1.0] / 2)
    assert parts[0.05] == parts[1.0] > 0


def test_the_encoder_sees_activations_without_the_decoder_bias_taken_off():
    found = trainee()
    with torch.no_grad():
        before = found.encode(X_ND).dense()
        found.b_dec_D += 9
        assert torch.equal(found.encode(X_ND).dense(), before)


def test_pairs_give_the_values_and_gradients_of_the_dense_definition():
    found = trainee(l1=2.0)
    outcomes = []
    for n_pairs in (0.0, torch.inf):
        found.density.n_pairs.fill_(n_pairs)
        loss = found.loss(X_ND)
        found.zero_grad(set_to_none=True)
        loss.total.backward()
        outcomes.append((loss, {name: p.grad for name, p in found.named_parameters()}))
    (sparse, slopes), (dense, wanted) = outcomes
    torch.testing.assert_close(sparse.total, dense.total)
    assert torch.equal(sparse.fires_F, dense.fires_F)
    for name, slope in slopes.items():
        torch.testing.assert_close(slope, wanted[name], msg=lambda line, name=name: f"{name}: {line}")


def test_the_penalty_shrinks_what_is_reconstructed():
    planted = world(n_true=F, d_model=D, n_tokens=4096)
    ratios = []
    for l1 in (0.05, 4.0):
        dictionary = train(planted.batches(256), ReLU(n_features=F, l1=l1), settings=TrainSettings(epochs=20, lr=3e-3))
        guess_ND = dictionary.reconstruct(planted.x_ND)
        ratios.append(float((guess_ND.norm(dim=1) / planted.x_ND.norm(dim=1)).mean()))
    assert ratios[1] < 0.9 < ratios[0] < 1.02


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": -1}, "n_features is -1"),
        ({"l1": float("inf")}, "l1 is inf"),
        ({"l0": 0}, "l0 is 0"),
        ({"l0": 3, "l1": 0.0}, "l1 is 0, where l0 needs a weight"),
        ({"l1_warm_up": 1.5}, "l1_warm_up is 1.5"),
        ({"decoder_norm": 0.0}, "decoder_norm is 0.0"),
        ({"dead_after_tokens": -5}, "dead_after_tokens is -5"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        ReLU(**settings)
