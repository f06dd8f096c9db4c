"""What every kind of dictionary must do. A new kind is added to `CASES`; one that is forgotten fails a test here."""

import dataclasses
import typing
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from dictionaries.planted import World, matched_cosine, world
from torch import Tensor

from bathyscope.artifacts import verify
from bathyscope.config import from_json, to_json
from bathyscope.dictionaries import kinds
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK, TopKTrainee
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.trainee import KindSettings, Loss, Trainee
from bathyscope.errors import ConfigError
from bathyscope.progress import Step, listening

D, F = 32, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One small member of a kind, and what the tests below may expect of it."""

    kind: KindSettings
    most_active: int
    """Most features that a token may have."""
    matched: float = 0.9
    """Least mean |cosine| of the planted features with their matches after training."""
    has_exact_gradients: bool = True
    """False where gradients are those of a stated straight-through formula: then the kind's own file tests them."""


CASES: dict[type, Case] = {
    TopK: Case(kind=TopK(n_features=F, k=4, dead_after_tokens=2000), most_active=4),
    ReLU: Case(kind=ReLU(n_features=F, l1=2.0, dead_after_tokens=2000), most_active=F),
}

each_kind = pytest.mark.parametrize("kind", [case.kind for case in CASES.values()], ids=[cls.__name__ for cls in CASES])


def test_every_kind_of_the_union_is_tested_here():
    assert set(CASES) == set(typing.get_args(kinds.Kind))


@pytest.fixture(scope="module")
def planted() -> World:
    return world(n_true=F, d_model=D)


@pytest.fixture(scope="module")
def trained(planted: World) -> dict[type, Dictionary]:
    settings = TrainSettings(epochs=24)
    return {cls: train(planted.batches(256), case.kind, settings=settings) for cls, case in CASES.items()}


def trainee_of(kind: KindSettings, *, seed: int = 0, steps: int = 0) -> Trainee:
    """A trainee whose weights are all away from their start."""
    planted = world(n_true=F, d_model=D, n_tokens=2048, seed=seed)
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=seed)
    member.start(planted.x_ND)
    for x_ND in planted.batches(256)[:steps]:
        member.step(x_ND, progress=0.5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in member.trainee.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    member.trainee.after_step(member.trainee.loss(planted.batches(256)[0] * member.scale))
    return member.trainee


def gradients(trainee: Trainee, loss: Loss) -> dict[str, Tensor]:
    trainee.zero_grad(set_to_none=True)
    loss.total.backward()
    return {name: p.grad for name, p in trainee.named_parameters() if p.grad is not None}


@dataclasses.dataclass(frozen=True)
class Choice:
    """A settings file that leaves the kind open."""

    any_kind: kinds.Kind


@each_kind
def test_settings_survive_json(kind):
    assert from_json(Choice, to_json(Choice(any_kind=kind))).any_kind == kind


@each_kind
def test_the_planted_features_are_found(kind, trained, planted):
    dictionary = trained[type(kind)]
    assert matched_cosine(dictionary.W_dec, planted.truth_GD) >= CASES[type(kind)].matched
    random_FD = torch.randn(F, D, generator=torch.Generator().manual_seed(1))
    assert matched_cosine(random_FD, planted.truth_GD) < 0.6, "a random dictionary must not pass"


@each_kind
def test_save_and_load_give_the_same_dictionary(kind, trained, planted, tmp_path):
    dictionary: Dictionary = dataclasses.replace(
        trained[type(kind)], hookpoint="layers.3", model_identity={"name": "tiny", "sha256": "00"}
    )
    dictionary.save(tmp_path / "d")
    found = load_dictionary(tmp_path / "d")
    assert found.digest == dictionary.digest
    assert (found.rule, found.hookpoint, found.kind) == (dictionary.rule, "layers.3", to_json(kind))
    assert found.model_identity == dictionary.model_identity and found.training == dictionary.training
    assert torch.equal(found.max_activation, dictionary.max_activation)
    before, after = dictionary.encode(planted.x_ND), found.encode(planted.x_ND)
    assert torch.equal(before.values_NK, after.values_NK) and torch.equal(before.indices_NK, after.indices_NK)
    verify(tmp_path / "d")


@each_kind
def test_the_loss_falls(kind):
    planted = world(n_true=F, d_model=D, n_tokens=4096, seed=3)
    member = Member(kind, d_model=D, optimisation=kind.optimisation(D), seed=0)
    member.start(planted.x_ND)
    x_ND = planted.x_ND[:512] * member.scale
    before = float(member.trainee.loss(x_ND).total.detach())
    for batch in planted.batches(256) * 8:
        member.step(batch, progress=0.5)
    assert float(member.trainee.loss(x_ND).total.detach()) < 0.8 * before


@each_kind
@pytest.mark.parametrize("scale", [1.0, 0.07, 11.0])
def test_folding_changes_nothing(kind, scale):
    trainee = trainee_of(kind, steps=6)
    x_ND = world(n_true=F, d_model=D, n_tokens=300, seed=5).x_ND
    dictionary = trainee.fold(scale)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(F))
    inner = trainee.encode(scale * x_ND)
    wanted_ND = trainee.decode(inner).detach() / scale
    torch.testing.assert_close(dictionary.reconstruct(x_ND), wanted_ND, rtol=1e-5, atol=1e-5 * float(x_ND.abs().max()))
    lengths_F = dict(trainee.named_parameters())["W_dec_FD"].detach().norm(dim=1)
    wanted_NF = inner.dense().detach() * lengths_F / scale
    torch.testing.assert_close(
        dictionary.encode(x_ND).dense(), wanted_NF, rtol=1e-5, atol=1e-5 * float(wanted_NF.max())
    )


@each_kind
def test_encode_never_exceeds_its_number_of_active_features(kind, trained, planted):
    codes = trained[type(kind)].encode(planted.x_ND)
    n_active_N = (codes.values_NK != 0).sum(1)
    assert 0 < int(n_active_N.max()) <= CASES[type(kind)].most_active


@each_kind
def test_codes_of_a_token_do_not_depend_on_its_batch_mates(kind, trained, planted):
    dictionary = trained[type(kind)]
    together = dictionary.encode(planted.x_ND[:100]).dense()
    alone = torch.cat([dictionary.encode(planted.x_ND[n : n + 1]).dense() for n in range(100)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


@each_kind
def test_permuting_features_permutes_codes(kind, trained, planted):
    dictionary = trained[type(kind)]
    order = torch.randperm(F, generator=torch.Generator().manual_seed(0))
    w = dictionary.weights
    permuted = dataclasses.replace(
        dictionary,
        weights=dataclasses.replace(
            w,
            W_enc=w.W_enc[:, order].contiguous(),
            b_enc=w.b_enc[order],
            W_dec=w.W_dec[order],
            threshold=None if w.threshold is None else w.threshold[order],
        ),
    )
    x_ND = planted.x_ND[:500]
    assert not torch.equal(order, torch.arange(F))
    torch.testing.assert_close(permuted.encode(x_ND).dense(), dictionary.encode(x_ND).dense()[:, order])
    torch.testing.assert_close(permuted.reconstruct(x_ND), dictionary.reconstruct(x_ND))


@each_kind
def test_zero_input_gives_finite_numbers(kind):
    trainee = trainee_of(kind)
    loss = trainee.loss(torch.zeros(8, D))
    assert loss.total.isfinite() and all(g.isfinite().all() for g in gradients(trainee, loss).values())
    codes = trainee.fold(1.0).encode(torch.zeros(8, D))
    assert codes.values_NK.isfinite().all()


@each_kind
@pytest.mark.parametrize("n", [0, 1, 5000])
def test_shapes_of_encode_and_decode(kind, trained, n):
    dictionary = trained[type(kind)]
    x_ND = torch.randn(n, D, generator=torch.Generator().manual_seed(0))
    codes = dictionary.encode(x_ND)
    assert codes.dense().shape == (n, F)
    assert dictionary.decode(codes).shape == (n, D)


@each_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_other_number_formats_are_taken(kind, trained, planted, dtype):
    dictionary = trained[type(kind)]
    x_ND = planted.x_ND[:50].to(dtype)
    torch.testing.assert_close(dictionary.reconstruct(x_ND), dictionary.reconstruct(x_ND.float()))


@each_kind
def test_another_width_is_refused(kind, trained):
    with pytest.raises(ConfigError, match=r"shape \(3, 16\).*takes \[N, 32\]"):
        trained[type(kind)].encode(torch.zeros(3, 16))


@each_kind
def test_gradients_equal_finite_differences(kind):
    if not CASES[type(kind)].has_exact_gradients:
        pytest.skip("straight-through gradients: tested against their formula in the kind's own file")
    trainee = trainee_of(kind, steps=4).double()
    trainee.silence.tokens_F[:9] = 10**6  # some features are dead, so that every term of the loss is there
    x_ND = world(n_true=F, d_model=D, n_tokens=40, seed=9).x_ND.double() / 2
    found = gradients(trainee, trainee.loss(x_ND))
    assert set(found) == {name for name, _ in trainee.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    for name, parameter in trainee.named_parameters():
        direction = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
        slope = directional_slope(trainee, parameter, direction, x_ND)
        assert float((found[name] * direction).sum()) == pytest.approx(slope, rel=1e-5, abs=1e-9), name


def directional_slope(
    trainee: Trainee, parameter: Tensor, direction: Tensor, x_ND: Tensor, step: float = 1e-7
) -> float:
    """Central difference of the loss; targets that the loss detaches are detached by keeping them fixed."""
    totals = []
    with torch.no_grad(), fixed_targets(trainee, x_ND):
        start = parameter.clone()
        for sign in (1, -1):
            parameter.copy_(start + sign * step * direction)
            totals.append(float(trainee.loss(x_ND).total))
        parameter.copy_(start)
    return (totals[0] - totals[1]) / (2 * step)


@contextmanager
def fixed_targets(trainee: Trainee, x_ND: Tensor) -> Iterator[None]:
    """Inside the block, what a kind uses as a fixed target keeps the value it has now."""
    with pytest.MonkeyPatch.context() as patch:
        if isinstance(trainee, TopKTrainee):
            residual_ND = (x_ND - trainee.decode(trainee.encode(x_ND))).detach()
            original = trainee.auxiliary
            patch.setattr(trainee, "auxiliary", lambda x, _, dead: original(x, residual_ND, dead))
        yield


@each_kind
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_training_can_go_on_from_a_finished_dictionary(kind, scale):
    dictionary = trainee_of(kind, steps=6).fold(scale)
    again = kind.build(D, generator=torch.Generator().manual_seed(5))
    again.adopt(dictionary, scale)
    x_ND = world(n_true=F, d_model=D, n_tokens=300, seed=5).x_ND
    before, after = dictionary, again.fold(scale)
    torch.testing.assert_close(after.encode(x_ND).dense(), before.encode(x_ND).dense(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.reconstruct(x_ND), before.reconstruct(x_ND), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="features over width"):
        kind.build(D + 2, generator=torch.Generator().manual_seed(5)).adopt(dictionary, scale)


@each_kind
def test_the_loss_changes_nothing(kind):
    trainee = trainee_of(kind, steps=2)
    before = {name: tensor.clone() for name, tensor in trainee.state_dict().items()}
    trainee.loss(torch.randn(50, D))
    assert all(torch.equal(before[name], tensor) for name, tensor in trainee.state_dict().items())


@each_kind
def test_the_recorded_error_and_firings_are_those_of_encode_and_decode(kind):
    trainee = trainee_of(kind, steps=2)
    x_ND = world(n_true=F, d_model=D, n_tokens=200, seed=8).x_ND
    loss, codes = trainee.loss(x_ND), trainee.encode(x_ND)
    assert float(loss.squared_error) == pytest.approx(
        float((x_ND - trainee.decode(codes)).detach().square().sum()), rel=1e-5
    )
    assert torch.equal(loss.fires_F, codes.fires())
    assert float(loss.target.variation) == pytest.approx(float((x_ND - x_ND.mean(0)).square().sum()), rel=1e-5)
    assert float(sum(loss.parts.values())) == pytest.approx(float(loss.total.detach()), rel=1e-5)


@each_kind
def test_counters_stay_whole_numbers_in_half_precision(kind):
    trainee = trainee_of(kind).to(torch.bfloat16)
    assert trainee.silence.tokens_F.dtype == torch.int64


@each_kind
def test_observed_maxima_are_those_of_the_final_weights(kind, trained, planted):
    dictionary = trained[type(kind)]
    torch.testing.assert_close(dictionary.max_activation, dictionary.encode(planted.x_ND).dense().amax(0))


@each_kind
def test_training_figures_are_those_of_a_hand_computation(kind, trained, planted):
    dictionary, x_ND = trained[type(kind)], planted.x_ND
    error = (x_ND - dictionary.reconstruct(x_ND)).double().square().sum()
    explained = 1 - error / (x_ND - x_ND.mean(0)).double().square().sum()
    figures = dictionary.training["survey"]
    assert figures["variance_explained"] == pytest.approx(float(explained), abs=1e-6)
    assert figures["l0"] == pytest.approx(dictionary.encode(x_ND).l0())
    assert figures["dead_share"] == float((dictionary.encode(x_ND).fires() == 0).double().mean())


@each_kind
def test_an_interrupted_run_ends_in_the_same_bytes(kind, planted, tmp_path):
    settings = TrainSettings(epochs=2, log_every=5, checkpoint_seconds=0.0)
    batches = planted.batches(256)
    straight = train(batches, kind, out=tmp_path / "straight", settings=settings)

    def stop_at_a_third(step: Step) -> None:
        if step.done == 256 * 23:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), listening(stop_at_a_third):
        train(batches, kind, out=tmp_path / "resumed", settings=settings)
    seen: list[int] = []
    with listening(lambda step: seen.append(step.done)):
        resumed = train(batches, kind, out=tmp_path / "resumed", settings=settings)
    assert seen[0] == 256 * 21, "it goes on after the last checkpoint, not from the start"
    assert resumed.digest == straight.digest
    for name in ("metrics.jsonl", "weights.safetensors", "config.json"):
        assert (tmp_path / "resumed" / name).read_bytes() == (tmp_path / "straight" / name).read_bytes()
    assert verify(tmp_path / "resumed").digest == verify(tmp_path / "straight").digest


@each_kind
def test_attribution_can_differentiate_through_encode_and_decode(kind, trained, planted):
    dictionary = trained[type(kind)]
    x_ND = planted.x_ND[:20].clone().requires_grad_()
    (slope_ND,) = torch.autograd.grad(dictionary.reconstruct(x_ND).sum(), [x_ND])
    active_NF = dictionary.encode(x_ND.detach()).dense() != 0
    wanted_ND = (active_NF * dictionary.W_dec.sum(1)) @ dictionary.W_enc.T
    torch.testing.assert_close(slope_ND, wanted_ND, rtol=1e-4, atol=1e-4)
