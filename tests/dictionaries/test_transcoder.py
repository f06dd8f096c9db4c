"""Transcoders beyond the contract: the skip path, two biases, two scalars, and the splice with its error."""

import dataclasses

import pytest
import torch
from dictionaries.planted import World, mapped_world, matched_cosine
from tiny import tiny_model

from bathyscope.dictionaries.blocks import BlockScale
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.transcoder import Transcoder, TranscoderTrainee, ridge
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.models.hooks import replace, run
from bathyscope.steering.operations.amplify import Amplify

D, D_OUT, F = 32, 24, 64


def skipping_world(*, n_tokens: int = 4096, square: bool = False) -> tuple[World, torch.Tensor]:
    """`y = Σ a_i h_i + x @ A - .1` and the planted A."""
    d_out = D if square else D_OUT
    sparse = mapped_world(n_true=F, d_model=D, d_out=d_out, n_tokens=n_tokens)
    A_DO = 0.3 * torch.randn(D, d_out, generator=torch.Generator().manual_seed(5))
    x_ND, y_NO = sparse.x_ND.split((D, d_out), dim=1)
    return World(sparse.truth_GD, torch.cat([x_ND, 3 * y_NO + x_ND @ A_DO], dim=1)), A_DO


def trained(world: World, **settings: object) -> Dictionary:
    kind = Transcoder(**{"n_features": F, "k": 4, "d_in": D, **settings})  # pyright: ignore[reportArgumentType]
    return train(world.batches(256), kind, settings=TrainSettings(epochs=8))


def perturbed(kind: Transcoder, width: int, *, seed: int = 0) -> TranscoderTrainee:
    member = Member(kind, d_model=width, optimisation=kind.optimisation(width), seed=seed)
    batch_NW = torch.randn(600, width, generator=torch.Generator().manual_seed(seed)) + 2
    member.start(batch_NW)
    with torch.no_grad():
        for parameter in member.trainee.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(seed + 1)))
    assert isinstance(member.trainee, TranscoderTrainee)
    member.trainee.after_step(member.trainee.loss(batch_NW))
    return member.trainee


@pytest.mark.parametrize("square", [False, True], ids=["other width", "same width"])
def test_the_skip_path_is_recovered_in_its_orientation(square):
    world, A_DO = skipping_world(square=square)
    dictionary = trained(world, skip=True)
    W_skip = dictionary.weights.W_skip
    assert W_skip is not None and W_skip.shape == A_DO.shape
    x_ND, y_NO = world.x_ND[:, :D], world.x_ND[:, D:]
    wanted_NO, found_NO = x_ND @ A_DO, x_ND @ W_skip
    wanted_NO, found_NO = wanted_NO - wanted_NO.mean(0), found_NO - found_NO.mean(0)
    away = float((wanted_NO - found_NO).square().sum() / wanted_NO.square().sum())
    assert away < 0.1
    if square:
        turned_NO = x_ND @ W_skip.T
        turned = float((wanted_NO - (turned_NO - turned_NO.mean(0))).square().sum() / wanted_NO.square().sum())
        assert turned > 0.5, "the transposed matrix must not pass"
    with_skip = 1 - float((y_NO - dictionary.reconstruct(x_ND)).square().sum() / (y_NO - y_NO.mean(0)).square().sum())
    without = dictionary.decode(dictionary.encode(x_ND))
    assert with_skip > 0.9
    assert float((y_NO - without).square().sum()) > 5 * float((y_NO - dictionary.reconstruct(x_ND)).square().sum())


def test_the_skip_path_lowers_the_error_at_the_same_number_of_features():
    world, _ = skipping_world()
    explained = {skip: trained(world, skip=skip).training["survey"]["variance_explained"] for skip in (True, False)}
    assert explained[True] > explained[False] + 0.02, explained


def test_the_regression_is_that_of_a_dense_solver():
    x_ND, y_NO = (torch.randn(500, d, generator=torch.Generator().manual_seed(d)).double() for d in (6, 4))
    wanted_DO = torch.linalg.lstsq(x_ND, y_NO).solution
    found_DO = ridge(x_ND.float(), y_NO.float())
    torch.testing.assert_close(found_DO.double(), wanted_DO, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("scale", [3.0, BlockScale(scalars=(0.2, 9.0), widths=(D, D_OUT))], ids=["one", "two"])
def test_folding_takes_out_both_scalars_and_both_biases(skip, scale):
    kind = Transcoder(n_features=F, k=4, d_in=D, skip=skip)
    trainee = perturbed(kind, D + D_OUT)
    batch_NW = torch.randn(200, D + D_OUT, generator=torch.Generator().manual_seed(3)) + 2
    s_in, s_out = (scale, scale) if isinstance(scale, float) else scale.scalars
    scaled_NW = torch.cat([batch_NW[:, :D] * s_in, batch_NW[:, D:] * s_out], dim=1)
    dictionary = trainee.fold(scale)
    assert not dictionary.subtract_b_dec and (dictionary.d_model, dictionary.d_out) == (D, D_OUT)
    inner = trainee.encode(scaled_NW)
    wanted_NO = trainee.decode(inner, scaled_NW).detach() / s_out
    torch.testing.assert_close(dictionary.reconstruct(batch_NW[:, :D]), wanted_NO, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(
        dictionary.encode(batch_NW[:, :D]).dense(), inner.dense().detach() / s_out, rtol=1e-4, atol=1e-4
    )
    again = perturbed(kind, D + D_OUT, seed=7)
    again.adopt(dictionary, scale)
    torch.testing.assert_close(again.fold(scale).reconstruct(batch_NW[:, :D]), wanted_NO, rtol=1e-4, atol=1e-4)


def test_the_biases_are_the_mean_of_the_input_and_the_mean_of_the_output():
    world = mapped_world(n_true=F, d_model=D, d_out=D_OUT)
    member = Member(
        kind := Transcoder(n_features=F, k=4, d_in=D), d_model=D + D_OUT, optimisation=kind.optimisation(56), seed=0
    )
    member.start(world.x_ND)
    trainee, scale = member.trainee, member.scale
    assert isinstance(trainee, TranscoderTrainee) and isinstance(scale, BlockScale)
    torch.testing.assert_close(trainee.b_in_D / scale.scalars[0], world.x_ND[:, :D].mean(0), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        trainee.b_out_O.detach() / scale.scalars[1], world.x_ND[:, D:].mean(0), rtol=1e-4, atol=1e-5
    )
    scaled = world.x_ND * scale.row().float()
    for part in scaled.split((D, D_OUT), dim=1):
        assert float(part.var(0, correction=0).mean()) == pytest.approx(1, rel=1e-4)


def test_the_loss_with_a_skip_path_is_the_formula():
    trainee = perturbed(
        Transcoder(n_features=F, k=4, d_in=D, skip=True, k_aux=2, dead_after_tokens=100), D + D_OUT
    ).double()
    batch_NW = torch.randn(50, D + D_OUT, generator=torch.Generator().manual_seed(1)).double()
    trainee.silence.tokens_F[:20] = 10**6
    x_ND, y_NO = batch_NW.split((D, D_OUT), dim=1)
    assert trainee.W_skip_DO is not None
    pre_NF = (x_ND - trainee.b_in_D) @ trainee.W_enc_FD.T + trainee.b_enc_F
    top = pre_NF.topk(4)
    codes_NF = torch.zeros_like(pre_NF).scatter(1, top.indices, top.values.relu())
    guess_NO = codes_NF @ trainee.W_dec_FD + trainee.b_out_O + (x_ND - trainee.b_in_D) @ trainee.W_skip_DO
    e_NO = y_NO - guess_NO
    is_dead_F = (torch.arange(F) < 20) & ((codes_NF != 0).sum(0) == 0)
    assert is_dead_F.any()
    dead = pre_NF.masked_fill(~is_dead_F, -torch.inf).topk(2)
    dead_NO = torch.zeros_like(pre_NF).scatter(1, dead.indices, dead.values.relu()) @ trainee.W_dec_FD
    error = e_NO.square().sum() / (y_NO - y_NO.mean(0)).square().sum()
    auxiliary = (e_NO - dead_NO).square().sum() / (e_NO - e_NO.mean(0)).square().sum()
    assert float(trainee.loss(batch_NW).total.detach()) == pytest.approx(float((error + auxiliary / 32).detach()))


def test_every_parameter_learns_with_a_skip_path():
    trainee = perturbed(Transcoder(n_features=F, k=4, d_in=D, skip=True), D + D_OUT)
    trainee.loss(torch.randn(50, D + D_OUT)).total.backward()
    slopes = {name: p.grad for name, p in trainee.named_parameters()}
    assert set(slopes) == {"W_enc_FD", "W_dec_FD", "W_skip_DO", "b_enc_F", "b_out_O"}
    assert all(slope is not None and float(slope.abs().max()) > 0 for slope in slopes.values())


def test_a_decoder_that_begins_where_the_output_goes_learns_faster_than_a_random_one(monkeypatch):
    world = mapped_world(n_true=F, d_model=D, d_out=D_OUT)
    settings, kind = TrainSettings(epochs=3), Transcoder(n_features=F, k=4, d_in=D)
    found = [train(world.batches(256), kind, settings=settings)]
    monkeypatch.setattr(TranscoderTrainee, "_point_decoder", lambda *_: None)
    found.append(train(world.batches(256), kind, settings=settings))
    explained = [d.training["survey"]["variance_explained"] for d in found]
    assert explained[0] > explained[1] + 0.1, explained
    assert matched_cosine(found[0].W_dec, world.truth_GD) > matched_cosine(found[1].W_dec, world.truth_GD)


@pytest.mark.parametrize("skip", [False, True])
def test_a_spliced_transcoder_with_its_error_added_back_leaves_the_logits_unchanged(skip):
    model = tiny_model()
    read, written = "layers.1.post_attention_layernorm", "layers.1.mlp"
    tokens_BS = torch.randint(0, 250, (4, 60), generator=torch.Generator().manual_seed(0))
    both = run(model, tokens_BS, [read, written])
    batch_NW = torch.cat([both[read].reshape(-1, 32), both[written].reshape(-1, 32)], dim=1)
    kind = Transcoder(n_features=48, k=6, skip=skip)
    dictionary = train([batch_NW], kind, settings=TrainSettings(n_tokens=4800, start_rows=240))
    x_BSD, y_BSD = both[read], both[written]
    guess_BSD = dictionary.reconstruct(x_BSD.reshape(-1, 32)).reshape(y_BSD.shape)
    error_BSD = y_BSD - guess_BSD
    with torch.no_grad():
        clean_BSV = model.network(tokens_BS).logits
        with replace(model, {written: lambda _: guess_BSD + error_BSD}):
            spliced_BSV = model.network(tokens_BS).logits
        with replace(model, {written: lambda _: guess_BSD}):
            without_BSV = model.network(tokens_BS).logits
    torch.testing.assert_close(spliced_BSV, clean_BSV, rtol=0, atol=1e-4)
    assert float((without_BSV - clean_BSV).abs().max()) > 0.01


def test_a_transcoder_survives_its_folder_with_places_and_skip_path(tmp_path):
    world, _ = skipping_world(n_tokens=1024)
    dictionary = dataclasses.replace(
        trained(world, skip=True), hookpoint="layers.1.norm", output_hookpoint="layers.1.mlp"
    )
    dictionary.save(tmp_path / "d")
    found = load_dictionary(tmp_path / "d")
    assert (found.hookpoint, found.output_hookpoint) == ("layers.1.norm", "layers.1.mlp")
    assert found.digest == dictionary.digest and found.weights.W_skip is not None
    x_ND = world.x_ND[:, :D]
    assert torch.equal(found.reconstruct(x_ND), dictionary.reconstruct(x_ND))
    plain = dataclasses.replace(dictionary, weights=dataclasses.replace(dictionary.weights, W_skip=None))
    assert plain.digest != dictionary.digest


def test_what_needs_one_place_refuses_a_transcoder_by_name():
    dictionary = perturbed(Transcoder(n_features=F, k=4), 2 * D).fold(1.0)
    named = dataclasses.replace(dictionary, hookpoint="layers.1.norm", output_hookpoint="layers.1.mlp")
    with pytest.raises(ConfigError, match=r"steering needs .* transcoder \(from layers.1.norm to layers.1.mlp\)"):
        Amplify(dictionary=named, features=[1], alpha=-1.0)
    with pytest.raises(ConfigError, match=r"a random dictionary needs .* transcoder"):
        random_dictionary(named, torch.randn(9, D), k=2, seed=0)


def test_a_bias_of_the_output_cannot_be_taken_off_an_input_of_other_width():
    dictionary = perturbed(Transcoder(n_features=F, k=4, d_in=D), D + D_OUT).fold(1.0)
    with pytest.raises(ArtifactError, match="b_dec has width 24"):
        dataclasses.replace(dictionary, subtract_b_dec=True)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"n_features": 0}, "n_features is 0"),
        ({"k": 0}, "k is 0"),
        ({"d_in": 0}, "d_in is 0"),
        ({"k_aux": 0}, "k_aux is 0"),
        ({"aux_coefficient": -1.0}, "aux_coefficient is -1.0"),
        ({"dead_after_tokens": 0}, "dead_after_tokens is 0"),
    ],
)
def test_impossible_settings_are_refused(settings, line):
    with pytest.raises(ConfigError, match=line):
        Transcoder(**settings)


def test_widths_that_do_not_fit_are_refused():
    with pytest.raises(ConfigError, match="width 7 does not divide into 2"):
        Transcoder().split(7)
    with pytest.raises(ConfigError, match="nothing is left for the output"):
        Transcoder(d_in=8).split(8)
    small, large = perturbed(Transcoder(n_features=F, k=4), 20), perturbed(Transcoder(n_features=F, k=5), 20)
    with pytest.raises(ConfigError, match="this kind the 5 largest"):
        large.adopt(small.fold(1.0), 1.0)
    with pytest.raises(ConfigError, match="choose skip as it has it"):
        perturbed(Transcoder(n_features=F, k=4, skip=True), 20).adopt(small.fold(1.0), 1.0)
