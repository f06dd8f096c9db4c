"""One small case of every kind of dictionary, for the tests of what every kind must do."""

import dataclasses
import functools
from collections.abc import Callable

import pytest
import torch
from dictionaries.planted import World, mapped_world, neighbours, world
from torch import Tensor

from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.crosscoder import Crosscoder
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.end_to_end import EndToEnd
from bathyscope.dictionaries.frozen import Frozen
from bathyscope.dictionaries.gated import Gated
from bathyscope.dictionaries.jumprelu import JumpReLU
from bathyscope.dictionaries.matryoshka import Matryoshka
from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.p_anneal import PAnneal
from bathyscope.dictionaries.pursuit import MatchingPursuit
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.shift import Shift
from bathyscope.dictionaries.temporal import Temporal
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.dictionaries.trainee import KindSettings, Loss, Trainee
from bathyscope.dictionaries.transcoder import Transcoder

D, F = 32, 64


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One small member of a kind, and what the tests below may expect of it."""

    kind: KindSettings
    most_active: int
    """Most features that a token may have."""
    matched: float = 0.7
    """Least mean |cosine| of the planted features with their matches after training."""
    falls_to: float = 0.8
    """Largest share of its first value that the loss may have after a few steps."""
    has_exact_gradients: bool = True
    """False where gradients are those of a stated straight-through formula: then the kind's own file tests them."""
    reads_once: bool = True
    """False where codes are not what is kept of one product with W_enc: then the kind's own file tests the slope."""
    selects_by_batch: bool = False
    """True where training codes are selected over a batch: then the kind's own file tests what is recorded of them."""
    world: Callable[..., World] = world
    """What it learns from; called with n_true, d_model, n_tokens and seed."""
    width: int = D
    """Columns of a batch; more than D where several places lie side by side."""
    takes: tuple[int, int] = (0, D)
    """First column of a batch that the finished dictionary reads, and the one behind the last."""
    gives: tuple[int, int] = (0, D)
    """The same of the columns that it reconstructs."""


CASES: dict[type, Case] = {
    TopK: Case(kind=TopK(n_features=F, k=4, dead_after_tokens=2000), most_active=4),
    AbsTopK: Case(kind=AbsTopK(n_features=F, k=4, dead_after_tokens=2000), most_active=4),
    ReLU: Case(kind=ReLU(n_features=F, l1=2.0, dead_after_tokens=2000), most_active=F),
    PAnneal: Case(kind=PAnneal(n_features=F, l1=2.0, dead_after_tokens=2000), most_active=F),
    Gated: Case(kind=Gated(n_features=F, l1=2.0, dead_after_tokens=2000), most_active=F, has_exact_gradients=False),
    JumpReLU: Case(kind=JumpReLU(n_features=F, l0=4, dead_after_tokens=2000), most_active=F, has_exact_gradients=False),
    BatchTopK: Case(
        kind=BatchTopK(n_features=F, k=4, dead_after_tokens=2000),
        most_active=F,
        matched=0.8,
        selects_by_batch=True,
    ),
    Matryoshka: Case(
        kind=Matryoshka(n_features=F, k=4, groups=(0.25, 1.0), dead_after_tokens=2000),
        most_active=F,
        matched=0.7,
        selects_by_batch=True,
    ),
    Temporal: Case(
        kind=Temporal(n_features=F, k=4, dead_after_tokens=2000),
        most_active=F,
        matched=0.7,
        falls_to=0.93,
        selects_by_batch=True,
        world=neighbours,
        width=2 * D,
        takes=(D, 2 * D),
        gives=(D, 2 * D),
    ),
    MatchingPursuit: Case(
        kind=MatchingPursuit(n_features=F, k=4, dead_after_tokens=2000), most_active=4, reads_once=False
    ),
    Shift: Case(  # more columns than dimensions, which identifies nothing: test_shift.py has a world of shifts
        kind=Shift(n_features=F, beta=0.5, dead_after_tokens=2000), most_active=F, matched=0.0
    ),
    Frozen: Case(kind=Frozen(of=TopK(n_features=F, k=4)), most_active=4, matched=0.0, falls_to=0.95),
    Transcoder: Case(
        kind=Transcoder(n_features=F, k=4, d_in=D, dead_after_tokens=2000),
        most_active=4,
        world=mapped_world,
        width=D + 24,
        gives=(D, D + 24),
    ),
    Crosscoder: Case(
        kind=Crosscoder(n_features=F, k=4, dead_after_tokens=2000), most_active=F, matched=0.8, selects_by_batch=True
    ),
    EndToEnd: Case(kind=EndToEnd(of=TopK(n_features=F, k=4, dead_after_tokens=2000), through=0.0), most_active=4),
}

each_kind = pytest.mark.parametrize("kind", [case.kind for case in CASES.values()], ids=[cls.__name__ for cls in CASES])


@functools.cache
def world_of(cls: type, *, n_tokens: int = 8192, seed: int = 0) -> World:
    return CASES[cls].world(n_true=F, d_model=D, n_tokens=n_tokens, seed=seed)


def takes(kind: KindSettings, batch_NW: Tensor) -> Tensor:
    return batch_NW[:, slice(*CASES[type(kind)].takes)]


def gives(kind: KindSettings, batch_NW: Tensor) -> Tensor:
    return batch_NW[:, slice(*CASES[type(kind)].gives)]


@functools.cache
def trained(kind: KindSettings) -> Dictionary:
    """What the kind's case has learnt; made when it is first asked for."""
    return train(world_of(type(kind)).batches(256), kind, settings=TrainSettings(epochs=12))


def trainee_of(kind: KindSettings, *, seed: int = 0, steps: int = 0) -> Trainee:
    """A trainee whose weights are all away from their start."""
    planted, width = world_of(type(kind), n_tokens=2048, seed=seed), CASES[type(kind)].width
    member = Member(kind, d_model=width, optimisation=kind.optimisation(width), seed=seed)
    member.start(planted.x_ND)
    for x_ND in planted.batches(256)[:steps]:
        member.step(x_ND, progress=0.5)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in member.trainee.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    member.trainee.after_step(member.trainee.loss(planted.batches(256)[0] * member.factor))
    return member.trainee


def gradients(trainee: Trainee, loss: Loss) -> dict[str, Tensor]:
    trainee.zero_grad(set_to_none=True)
    loss.total.backward()
    return {name: p.grad for name, p in trainee.named_parameters() if p.grad is not None}
