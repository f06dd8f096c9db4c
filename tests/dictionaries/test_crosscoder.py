"""Crosscoders beyond the contract: blocks, a scalar for each, both forms of sparsity."""

import dataclasses

import pytest
import torch
from dictionaries.planted import two_models

from bathyscope.config import from_json, to_json
from bathyscope.dictionaries import dictionary
from bathyscope.dictionaries.batch_topk import BatchTopKTrainee
from bathyscope.dictionaries.blocks import Block, BlockScale
from bathyscope.dictionaries.crosscoder import Crosscoder, CrosscoderTrainee, SummedNormsTrainee
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.rules import Above, Positive
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ArtifactError, ConfigError

F, WIDTHS = 24, (10, 6)
FORMS = ["batch-topk", "l1"]


def kind_of(form: str, **settings: object) -> Crosscoder:
    given = {"n_features": F, "k": 3, "widths": WIDTHS, "sparsity": form, **settings}
    return Crosscoder(**given)  # pyright: ignore[reportArgumentType]


def perturbed(kind: Crosscoder, *, seed: int = 0) -> CrosscoderTrainee:
    member = Member(kind, d_model=16, optimisation=kind.optimisation(16), seed=seed)
    x_NW = torch.randn(500, 16, generator=torch.Generator().manual_seed(seed)) + 1
    member.start(x_NW)
    with torch.no_grad():
        for parameter in member.trainee.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1)))
    assert isinstance(member.trainee, CrosscoderTrainee)
    member.trainee.after_step(member.trainee.loss(x_NW * member.factor))
    return member.trainee


def test_every_block_is_scaled_to_unit_variance_by_a_scalar_of_its_own():
    x_NW = torch.cat([7 * torch.randn(900, 10), 0.1 * torch.randn(900, 6) + 5], dim=1)
    scale = kind_of("batch-topk").scale(x_NW)
    assert scale.widths == WIDTHS and scale.scalars[1] > 30 * scale.scalars[0]
    for part in (x_NW * scale.row().float()).split(WIDTHS, dim=1):
        assert float(part.var(0, correction=0).mean()) == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("form", FORMS)
def test_folding_takes_out_every_blocks_scalar(form):
    scale = BlockScale(scalars=(0.2, 9.0), widths=WIDTHS)
    trainee, kind = perturbed(kind_of(form)), kind_of(form)
    dictionary = trainee.fold(scale)
    x_NW = torch.randn(200, 16, generator=torch.Generator().manual_seed(3)) + 1
    scaled_NW = x_NW * scale.row().float()
    inner = trainee.encode(scaled_NW)
    wanted_NW = trainee.decode(inner).detach() / scale.row().float()
    torch.testing.assert_close(dictionary.reconstruct(x_NW), wanted_NW, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(F))
    lengths_F = (trainee.inner.W_dec_FD.detach() / scale.row().float()).norm(dim=1)
    torch.testing.assert_close(
        dictionary.encode(x_NW).dense(), inner.dense().detach() * lengths_F, rtol=1e-4, atol=1e-4
    )
    assert [block.width for block in dictionary.blocks] == list(WIDTHS)
    again = perturbed(kind, seed=5)
    again.adopt(dictionary, scale)
    torch.testing.assert_close(again.fold(scale).reconstruct(x_NW), wanted_NW, rtol=1e-4, atol=1e-4)


def test_decoder_rows_have_length_1_over_all_blocks_together():
    trainee = perturbed(kind_of("batch-topk"))
    assert isinstance(trainee.inner, BatchTopKTrainee)
    torch.testing.assert_close(trainee.inner.W_dec_FD.detach().norm(dim=1), torch.ones(F))
    assert float(trainee.inner.W_dec_FD.detach()[:, :10].norm(dim=1).std()) > 0.05, "blocks are free to differ"


def test_the_batch_selection_compares_what_features_add_to_all_blocks():
    trainee, x_NW = perturbed(kind_of("batch-topk")), torch.randn(50, 16, generator=torch.Generator().manual_seed(2))
    assert isinstance(trainee.inner, BatchTopKTrainee)
    pre_NF = (x_NW - trainee.inner.b_pre_D) @ trainee.inner.W_enc_FD.T + trainee.inner.b_enc_F
    bound = pre_NF.relu().flatten().topk(3 * 50).values[-1]
    codes_NF = pre_NF * (pre_NF >= bound)
    error = (x_NW - codes_NF @ trainee.inner.W_dec_FD - trainee.inner.b_pre_D).square().sum()
    assert float(trainee.loss(x_NW).squared_error) == pytest.approx(float(error.detach()), rel=1e-5)
    assert trainee.fold(1.0).rule == Above()


def test_the_l1_loss_charges_the_sum_of_block_norms():
    trainee = perturbed(kind_of("l1", l1=3.0)).double()
    inner = trainee.inner
    assert isinstance(inner, SummedNormsTrainee)
    x_NW = torch.randn(50, 16, generator=torch.Generator().manual_seed(2)).double()
    codes_NF = (x_NW @ inner.W_enc_FD.T + inner.b_enc_F).relu()
    error = (x_NW - codes_NF @ inner.W_dec_FD - inner.b_dec_D).square().sum(1).mean()
    first_F, second_F = inner.W_dec_FD[:, :10].norm(dim=1), inner.W_dec_FD[:, 10:].norm(dim=1)
    wanted = error + 3 * (codes_NF @ (first_F + second_F)).mean()
    assert float(trainee.loss(x_NW).total.detach()) == pytest.approx(float(wanted.detach()))
    assert trainee.fold(1.0).rule == Positive()


@pytest.mark.parametrize("form", FORMS)
def test_gradients_of_both_forms_equal_finite_differences(form):
    trainee = perturbed(kind_of(form, aux_coefficient=0.0)).double()
    x_NW = torch.randn(30, 16, generator=torch.Generator().manual_seed(2)).double()
    trainee.loss(x_NW).total.backward()
    for name, parameter in trainee.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(4)).double()
        totals = []
        with torch.no_grad():
            before = parameter.clone()
            for sign in (1, -1):
                parameter.copy_(before + sign * 1e-7 * direction)
                totals.append(float(trainee.loss(x_NW).total))
            parameter.copy_(before)
        assert parameter.grad is not None
        slope = (totals[0] - totals[1]) / 2e-7
        assert float((parameter.grad * direction).sum()) == pytest.approx(slope, rel=1e-4, abs=1e-7), name


@pytest.fixture(scope="module")
def trained() -> Dictionary:
    world = two_models([1.0] * 16 + [0.0] * 8, d_model=16, n_tokens=4096)
    kind = Crosscoder(n_features=32, k=1)
    return train(world.batches(256), kind, settings=TrainSettings(epochs=16))


def test_blocks_survive_the_folder_and_give_their_rows_by_name(trained, tmp_path):
    named = dataclasses.replace(trained, blocks=(Block("base layers.3", 16), Block("chat layers.3", 16)))
    named.save(tmp_path / "d")
    found = load_dictionary(tmp_path / "d")
    assert found.blocks == named.blocks and trained.blocks == (Block("block 0", 16), Block("block 1", 16))
    assert torch.equal(found.block_rows("chat layers.3"), trained.W_dec[:, 16:])
    assert torch.equal(found.block_rows(0), trained.W_dec[:, :16])
    for which in (2, "base"):
        with pytest.raises(ConfigError, match=r"expected one of: base layers\.3, chat layers\.3"):
            found.block(which)


def test_a_crosscoder_reconstructs_every_block(trained):
    world = two_models([1.0] * 16 + [0.0] * 8, d_model=16, n_tokens=4096)
    for which in (0, 1):
        part = trained.block(which)
        error_NM = (world.x_NW - trained.reconstruct(world.x_NW))[:, part]
        variation_NM = world.x_NW[:, part] - world.x_NW[:, part].mean(0)
        assert 1 - float(error_NM.square().sum() / variation_NM.square().sum()) > 0.6


def test_training_goes_on_where_the_blocks_have_another_relative_size(trained):
    x_NW = two_models([1.0] * 16 + [0.0] * 8, d_model=16, n_tokens=2048, seed=1).x_NW
    x_NW = x_NW * torch.tensor([1.1] * 16 + [1.0] * 16)
    kind = Crosscoder(n_features=32, k=2)
    trainee, scale = kind.build(32, generator=torch.Generator().manual_seed(5)), kind.scale(x_NW)
    assert scale.scalars != pytest.approx(trained.training["scale"]["scalars"], rel=1e-2)
    trainee.adopt(trained, scale)
    again = trainee.fold(scale)
    torch.testing.assert_close(again.W_dec, trained.W_dec, rtol=1e-4, atol=1e-5)
    assert again.encode(x_NW).l0() == pytest.approx(trained.encode(x_NW).l0(), rel=0.05)
    far = dataclasses.replace(scale, scalars=(scale.scalars[0] / 100, scale.scalars[1]))
    with pytest.raises(ConfigError, match="this kind holds a single positive one"):
        trainee.adopt(trained, far)


def test_what_needs_one_place_refuses_a_crosscoder_by_name(trained):
    with pytest.raises(
        ConfigError, match="fidelity needs a dictionary of one hookpoint; this is a crosscoder of block 0"
    ):
        trained.require_one_place("fidelity")
    with pytest.raises(ArtifactError, match="do not make up the width 32"):
        dataclasses.replace(trained, blocks=(Block("a", 16), Block("b", 15)))


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"n_blocks": 1}, "n_blocks is 1"),
        ({"widths": (3,)}, r"widths are \(3,\): expected 2 positive"),
        ({"widths": (3, 0)}, "expected 2 positive"),
        ({"l1": -1.0}, "l1 is -1.0"),
        ({"l1_warm_up": 2.0}, "l1_warm_up is 2.0"),
        ({"decoder_norm": 0.0}, "decoder_norm is 0.0"),
        ({"k": 0}, "k is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Crosscoder(**settings)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="make 16, the batches are 20 wide"):
        kind_of("batch-topk").split(20)
    with pytest.raises(ConfigError, match="width 7 does not divide into 2"):
        Crosscoder().split(7)
    with pytest.raises(ConfigError, match="blocks of widths"):
        perturbed(kind_of("batch-topk", widths=(8, 8))).adopt(perturbed(kind_of("batch-topk")).fold(1.0), 1.0)


def test_a_config_from_before_there_were_several_places_is_read_as_one_place(trained):
    data = to_json(dictionary._saved(dataclasses.replace(trained, blocks=())))
    for name in ("output_hookpoint", "blocks"):
        del data[name]
    saved = from_json(dictionary._Saved, data)
    assert saved.output_hookpoint is None and saved.blocks == ()
