"""Latent scaling: planted shared and exclusive features, and the closed form beside its definition."""

import dataclasses

import pytest
import torch
from dictionaries.planted import TwoModels, two_models
from torch import Tensor

from bathyscope.dictionaries.blocks import Block
from bathyscope.dictionaries.crosscoder import Crosscoder
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.latent_scaling import LatentScaling, latent_scaling

D = 8
BLOCKS = (Block("base", D), Block("chat", D))


def exact(base_F: list[float], chat_F: list[float], *, reads_base: bool = False) -> Dictionary:
    """Feature f writes axis f with its strengths in base and chat; codes are the amounts in one model, chat or base."""
    rows_FW = torch.cat([torch.diag(torch.tensor(base_F)), torch.diag(torch.tensor(chat_F))], dim=1)
    halves = [torch.zeros(D, D), torch.eye(D)]
    reads_WF = torch.cat(halves[::-1] if reads_base else halves)
    n = len(base_F)
    weights = Weights(W_enc=reads_WF[:, :n], b_enc=torch.zeros(n), W_dec=rows_FW, b_dec=torch.zeros(2 * D))
    return Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, blocks=BLOCKS)


def amounts(n: int, *, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(n, D, generator=generator) * (torch.rand(n, D, generator=generator) < 0.3)


def test_shared_features_get_1_and_exclusive_ones_0():
    a_ND = amounts(500)
    strengths = torch.tensor([1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.5, -0.5])
    x_NW = torch.cat([a_ND * strengths, a_ND], dim=1)
    found = latent_scaling(exact(strengths.tolist(), [1.0] * D), [x_NW])
    torch.testing.assert_close(found.nu_error_F, strengths.double())
    torch.testing.assert_close(found.nu_reconstruction_F, strengths.double())
    torch.testing.assert_close(found.beta_error_F2[:, 1], torch.ones(D).double())
    assert found.blocks == ("base", "chat") and torch.equal(found.fires_F, (a_ND > 0).sum(0))


def test_a_shared_feature_whose_base_row_was_shrunk_to_0_is_found_out():
    """Complete shrinkage: it looks exclusive, but what it left out of base has it as strong as chat."""
    a_ND = amounts(500)
    found = latent_scaling(exact([0.0] * D, [1.0] * D), [torch.cat([a_ND, a_ND], dim=1)])
    torch.testing.assert_close(found.norm_share_F, torch.ones(D).double())
    torch.testing.assert_close(found.nu_error_F, torch.ones(D).double())
    torch.testing.assert_close(found.nu_reconstruction_F, torch.zeros(D).double())


def test_features_without_a_direction_in_chat_are_undefined_and_not_0():
    a_ND = amounts(500)
    silent_ND = a_ND * torch.tensor([1.0] * 7 + [0.0])
    chat = [1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0]
    found = latent_scaling(exact([1.0] * D, chat), [torch.cat([silent_ND, silent_ND], dim=1)])
    is_undefined_F = found.nu_error_F.isnan()
    assert is_undefined_F.nonzero().flatten().tolist() == [1, 7], "no row in chat; never fires"
    little_in_chat, batch_NW = exact([1.0] * D, [1.0] * D, reads_base=True), torch.cat([a_ND, a_ND * 0.005], dim=1)
    assert latent_scaling(little_in_chat, [batch_NW]).nu_error_F.isnan().all(), "below the floor"
    torch.testing.assert_close(
        latent_scaling(little_in_chat, [batch_NW], floor=1e-4).nu_error_F, 200 * torch.ones(D).double()
    )


def random_crosscoder(n_features: int = 20) -> tuple[Dictionary, Tensor]:
    generator = torch.Generator().manual_seed(0)
    weights = Weights(
        W_enc=torch.randn(2 * D, n_features, generator=generator),
        b_enc=torch.randn(n_features, generator=generator) - 2,
        W_dec=torch.nn.functional.normalize(torch.randn(n_features, 2 * D, generator=generator), dim=1),
        b_dec=torch.randn(2 * D, generator=generator),
    )
    dictionary = Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, blocks=BLOCKS)
    return dictionary, torch.randn(300, 2 * D, generator=generator)


def test_the_closed_form_is_the_least_squares_fit_of_its_definition():
    dictionary, x_NW = random_crosscoder()
    found = latent_scaling(dictionary, [x_NW])
    codes_NF = dictionary.encode(x_NW).dense().double()
    guess_NW, x_NW = dictionary.reconstruct(x_NW).double(), x_NW.double()
    for f in range(dictionary.n_features):
        d_chat = dictionary.block_rows("chat")[f].double()
        outer_NM = (codes_NF[:, f, None] * d_chat).flatten()
        for m, block in enumerate(("base", "chat")):
            part, own_D = dictionary.block(block), dictionary.block_rows(block)[f].double()
            rest_ND = x_NW[:, part] - (guess_NW[:, part] - codes_NF[:, f, None] * own_D)
            for target_ND, beta_F2 in (
                (rest_ND, found.beta_error_F2),
                (guess_NW[:, part], found.beta_reconstruction_F2),
            ):
                by_fit = float(torch.linalg.lstsq(outer_NM[:, None], target_ND.flatten()[:, None]).solution)
                assert float(beta_F2[f, m]) == pytest.approx(by_fit, rel=1e-6, abs=1e-9)


def test_parts_of_the_data_add_up():
    dictionary, x_NW = random_crosscoder()
    whole, parts = latent_scaling(dictionary, [x_NW]), latent_scaling(dictionary, x_NW.split(7))
    for name in ("beta_error_F2", "beta_reconstruction_F2", "nu_error_F", "nu_reconstruction_F", "fires_F"):
        torch.testing.assert_close(getattr(whole, name), getattr(parts, name), equal_nan=True, rtol=1e-6, atol=1e-8)


def test_blocks_are_chosen_by_number_or_name():
    dictionary, x_NW = random_crosscoder()
    forwards = latent_scaling(dictionary, [x_NW], blocks=("base", "chat"))
    torch.testing.assert_close(forwards.nu_error_F, latent_scaling(dictionary, [x_NW]).nu_error_F, equal_nan=True)
    backwards = latent_scaling(dictionary, [x_NW], blocks=(1, 0))
    assert backwards.blocks == ("chat", "base")
    assert not torch.allclose(forwards.beta_error_F2, backwards.beta_error_F2)


def test_what_does_not_fit_is_refused():
    dictionary, x_NW = random_crosscoder()
    with pytest.raises(ConfigError, match="no block 'chta'; expected one of: base, chat"):
        latent_scaling(dictionary, [x_NW], blocks=("base", "chta"))
    with pytest.raises(ConfigError, match="there was no batch"):
        latent_scaling(dictionary, [])
    with pytest.raises(ConfigError, match="floor is 0"):
        latent_scaling(dictionary, [x_NW], floor=0.0)
    uneven = dataclasses.replace(dictionary, blocks=(Block("base", D + 1), Block("chat", D - 1)))
    with pytest.raises(ConfigError, match="widths 9 and 7"):
        latent_scaling(uneven, [x_NW])


def trained(world: TwoModels, **settings: object) -> tuple[LatentScaling, Dictionary]:
    kind = Crosscoder(**{"n_features": 64, "k": 3, **settings})  # pyright: ignore[reportArgumentType]
    dictionary = train(world.batches(256), kind, settings=TrainSettings(epochs=12))
    return latent_scaling(dictionary, world.batches(512)), dictionary


def matches(dictionary: Dictionary, world: TwoModels, strength: float) -> Tensor:
    """Features whose chat direction is a planted one of this strength in base (cosine above 0.9)."""
    chat_FD = torch.nn.functional.normalize(dictionary.block_rows(1), dim=1)
    best = (chat_FD @ world.truth_GD[world.base_G == strength].T).max(0)
    return best.indices[best.values > 0.9]


def test_a_trained_crosscoder_tells_planted_shared_features_from_exclusive_ones():
    world = two_models([1.0] * 32 + [0.0] * 16)
    scaling, dictionary = trained(world)
    shared, exclusive = matches(dictionary, world, 1.0), matches(dictionary, world, 0.0)
    assert len(shared) >= 20 and len(exclusive) >= 6
    assert float((scaling.nu_error_F[shared] - 1).abs().median()) < 0.05
    assert float(scaling.nu_error_F[exclusive].abs().median()) < 0.05


def test_l1_makes_weakly_shared_features_look_exclusive_and_batch_selection_does_not():
    world = two_models([1.0] * 24 + [0.3] * 24)
    true_share, shares = 1 / 1.3, dict[str, float]()
    for form in ("batch-topk", "l1"):
        scaling, dictionary = trained(world, sparsity=form)
        weak = matches(dictionary, world, 0.3)
        assert len(weak) >= 6
        shares[form] = float(scaling.norm_share_F[weak].median())
        assert float(scaling.nu_error_F[weak].median()) == pytest.approx(0.3, abs=0.1), "latent scaling is not fooled"
    assert abs(shares["batch-topk"] - true_share) < 0.04 and shares["l1"] > true_share + 0.06, shares
