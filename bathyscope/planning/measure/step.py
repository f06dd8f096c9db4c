"""Training steps of several sizes, and what each sort of work in them costs.

Real steps of a TopK dictionary, whatever the kernels of the day are; sorts are told apart by how the time changes with
batch, features and k.
"""

import torch

from bathyscope.dictionaries.member import Member
from bathyscope.dictionaries.topk import TopK
from bathyscope.planning.measure.clock import Call, seconds_of
from bathyscope.planning.measure.copy import bounds
from bathyscope.planning.measure.fit import fitted_rates
from bathyscope.planning.stages.train import step_amounts

D_MODEL = 576
SIZES = (
    (256, 2048, 32),
    (256, 8192, 32),
    (1024, 2048, 8),
    (1024, 2048, 32),
    (1024, 2048, 96),
    (1024, 8192, 32),
    (2048, 4096, 32),
)
"""(N, F, k) of a step."""


def step_rates(product: float, copied: float, *, rounds: int) -> dict[str, float]:
    """Sort → amount a second of scan, pairs, rows, weights and step.

    Products go at `product` FLOP/s, memory is copied at `copied` bytes/s.
    """
    members = {(n_features, k): _member(n_features, k) for _, n_features, k in SIZES}
    x_ND = torch.randn(max(n for n, _, _ in SIZES), D_MODEL, generator=torch.Generator().manual_seed(0))

    def call(n: int, n_features: int, k: int) -> Call:
        return lambda: _step(members[n_features, k], x_ND[:n])

    spent = seconds_of({str(size): call(*size) for size in SIZES}, rounds=rounds)
    amounts: list[dict[str, int | float]] = []
    left: list[float] = []
    for n, n_features, k in SIZES:
        found = dict(step_amounts(n=n, n_features=n_features, k=k, d_model=D_MODEL))
        seconds = spent[str((n, n_features, k))]
        left.append(max(seconds - found.pop("product") / product, 0.05 * seconds))
        amounts.append({**found, "step": 1.0})
    return fitted_rates(amounts, left, fastest=bounds(copied, amounts[0]))


def _member(n_features: int, k: int) -> Member:
    kind = TopK(n_features=n_features, k=k)
    return Member(kind, d_model=D_MODEL, optimisation=kind.optimisation(D_MODEL), seed=0)


def _step(member: Member, x_ND: torch.Tensor) -> None:
    member.step(x_ND, progress=0.5)
    member.read()
