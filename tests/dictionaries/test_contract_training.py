"""What every kind of dictionary must do while it learns: loss, gradients, folding, going on, being interrupted."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from dictionaries.contract_cases import CASES, D, F, each_kind, gives, gradients, takes, trainee_of, world_of
from torch import Tensor

from bathyscope.artifacts import verify
from bathyscope.dictionaries.crosscoder import CrosscoderTrainee
from bathyscope.dictionaries.end_to_end import EndToEndTrainee
from bathyscope.dictionaries.frozen import FrozenTrainee
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.pursuit import MatchingPursuitTrainee
from bathyscope.dictionaries.temporal import TemporalTrainee
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.trainee import Trainee
from bathyscope.errors import ConfigError
from bathyscope.progress import Step, listening


@each_kind
def test_the_loss_falls(kind):
    planted, width = world_of(type(kind), n_tokens=4096, seed=3), CASES[type(kind)].width
    member = Member(kind, d_model=width, optimisation=kind.optimisation(width), seed=0)
    member.start(planted.x_ND)
    x_ND = planted.x_ND[:512] * member.factor
    before = float(member.trainee.loss(x_ND).total.detach())
    for batch in planted.batches(256) * 8:
        member.step(batch, progress=0.5)
    assert float(member.trainee.loss(x_ND).total.detach()) < CASES[type(kind)].falls_to * before


@each_kind
def test_the_loss_changes_nothing(kind):
    trainee = trainee_of(kind, steps=2)
    before = {name: tensor.clone() for name, tensor in trainee.state_dict().items()}
    trainee.loss(torch.randn(50, CASES[type(kind)].width))
    assert all(torch.equal(before[name], tensor) for name, tensor in trainee.state_dict().items())


@each_kind
def test_zero_input_gives_finite_numbers(kind):
    trainee = trainee_of(kind)
    loss = trainee.loss(torch.zeros(8, CASES[type(kind)].width))
    assert loss.total.isfinite() and all(g.isfinite().all() for g in gradients(trainee, loss).values())
    codes = trainee.fold(1.0).encode(torch.zeros(8, D))
    assert codes.values_NK.isfinite().all()


@each_kind
def test_the_recorded_error_and_firings_are_those_of_encode_and_decode(kind):
    trainee = trainee_of(kind, steps=2)
    x_ND = world_of(type(kind), n_tokens=200, seed=8).x_ND
    loss, codes = trainee.loss(x_ND), trainee.encode(x_ND)
    y_ND = trainee.example(x_ND).y_ND
    assert torch.equal(y_ND, gives(kind, x_ND)) and torch.equal(trainee.example(x_ND).x_ND, takes(kind, x_ND))
    if not CASES[type(kind)].selects_by_batch:
        square = (y_ND - trainee.decode(codes)).detach().square().sum()
        assert float(loss.squared_error) == pytest.approx(float(square), rel=1e-5)
        assert torch.equal(loss.fires_F, codes.fires())
    assert float(loss.target.variation) == pytest.approx(float((y_ND - y_ND.mean(0)).square().sum()), rel=1e-5)
    assert float(sum(loss.parts.values())) == pytest.approx(float(loss.total.detach()), rel=1e-5)


@each_kind
def test_gradients_equal_finite_differences(kind):
    if not CASES[type(kind)].has_exact_gradients:
        pytest.skip("straight-through gradients: tested against their formula in the kind's own file")
    trainee = trainee_of(kind, steps=4).double()
    trainee.silence.tokens_F[:9] = 10**6  # some features are dead, so that every term of the loss is there
    x_ND = world_of(type(kind), n_tokens=40, seed=9).x_ND.double() / 2
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
        whole, trainee = trainee, innermost(trainee)
        if isinstance(trainee, MatchingPursuitTrainee):
            left_ND, pursuit = (x_ND - trainee.decode(trainee.encode(x_ND))).detach(), trainee.auxiliary
            patch.setattr(trainee, "auxiliary", lambda _, dead: pursuit(left_ND, dead))
        elif hasattr(trainee, "auxiliary"):
            original, residuals = trainee.auxiliary, list[Tensor]()
            patch.setattr(trainee, "auxiliary", lambda x, e, dead: residuals.append(e) or original(x, e, dead))
            whole.loss(x_ND)
            patch.setattr(trainee, "auxiliary", lambda x, _, dead: original(x, residuals[0], dead))
        yield


def innermost(trainee: Trainee) -> Trainee:
    """The trainee itself, or the one that it wraps."""
    wrappers = FrozenTrainee | CrosscoderTrainee | EndToEndTrainee | TemporalTrainee
    return trainee.inner if isinstance(trainee, wrappers) else trainee


@each_kind
def test_counters_stay_whole_numbers_in_half_precision(kind):
    trainee = trainee_of(kind).to(torch.bfloat16)
    assert trainee.silence.tokens_F.dtype == torch.int64


@each_kind
@pytest.mark.parametrize("scale", [1.0, 0.07, 11.0])
def test_folding_changes_nothing(kind, scale):
    trainee = trainee_of(kind, steps=6)
    batch_NW = world_of(type(kind), n_tokens=300, seed=5).x_ND
    dictionary, x_ND = trainee.fold(scale), takes(kind, batch_NW)
    torch.testing.assert_close(dictionary.W_dec.norm(dim=1), torch.ones(F))
    inner = trainee.encode(scale * batch_NW)
    wanted_ND = trainee.decode(inner).detach() / scale
    torch.testing.assert_close(dictionary.reconstruct(x_ND), wanted_ND, rtol=1e-5, atol=1e-5 * float(x_ND.abs().max()))
    (rows_FD,) = [p.detach() for name, p in trainee.named_parameters() if name.split(".")[-1] == "W_dec_FD"]
    lengths_F = rows_FD.norm(dim=1)
    wanted_NF = inner.dense().detach() * lengths_F / scale
    torch.testing.assert_close(
        dictionary.encode(x_ND).dense(), wanted_NF, rtol=1e-5, atol=1e-5 * float(wanted_NF.max())
    )


@each_kind
@pytest.mark.parametrize("scale", [1.0, 7.0])
def test_training_can_go_on_from_a_finished_dictionary(kind, scale):
    dictionary = trainee_of(kind, steps=6).fold(scale)
    width = CASES[type(kind)].width
    again = kind.build(width, generator=torch.Generator().manual_seed(5))
    again.adopt(dictionary, scale)
    x_ND = takes(kind, world_of(type(kind), n_tokens=300, seed=5).x_ND)
    before, after = dictionary, again.fold(scale)
    torch.testing.assert_close(after.encode(x_ND).dense(), before.encode(x_ND).dense(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(after.reconstruct(x_ND), before.reconstruct(x_ND), rtol=1e-4, atol=1e-4)
    with pytest.raises(ConfigError, match="features over width"):
        kind.build(width + 2, generator=torch.Generator().manual_seed(5)).adopt(dictionary, scale)


@each_kind
def test_an_interrupted_run_ends_in_the_same_bytes(kind, tmp_path):
    settings = TrainSettings(epochs=2, log_every=5, checkpoint_seconds=0.0)
    batches = world_of(type(kind)).batches(256)
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
