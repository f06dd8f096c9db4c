"""Weights undo the exchange of laws: summed over every input of an enumerated law."""

import math

import pytest
import torch
from risk.small_world import enumerable

from bathyscope.risk.estimators.proposal import Proposal


def tilted(defensive: float) -> Proposal:
    generator = torch.Generator().manual_seed(0)
    law = enumerable().law
    log_q = tuple(
        (log_p + 2 * torch.randn(log_p.shape, generator=generator, dtype=torch.float64)).log_softmax(0)
        for log_p in law.log_p
    )
    return Proposal(law, log_q, defensive)


@pytest.mark.parametrize("defensive", [0.0, 0.1, 0.9])
def test_the_mean_weight_is_one(defensive: float) -> None:
    world = enumerable()
    log_r_N = world.log_p_N - tilted(defensive).log_weight(world.choices_NC)
    assert float(log_r_N.exp().sum()) == pytest.approx(1)


def test_no_weight_exceeds_the_inverse_of_the_defensive_share() -> None:
    world = enumerable()
    assert float(tilted(0.1).log_weight(world.choices_NC).max()) <= math.log(10) + 1e-12
    assert float(tilted(0.0).log_weight(world.choices_NC).max()) > math.log(100)


def test_rows_are_drawn_as_often_as_their_share_says() -> None:
    world, proposal = enumerable(), tilted(0.2)
    rows_NC = proposal.draw(20_000, generator=torch.Generator().manual_seed(1))
    place_N = (rows_NC[:, 1:] * torch.tensor([100, 10, 1])).sum(1)
    seen_N = place_N.bincount(minlength=1000) / 20_000
    share_N = (world.log_p_N - proposal.log_weight(world.choices_NC)).exp()
    assert float((seen_N - share_N).abs().max()) < 4 * math.sqrt(float(share_N.max()) / 20_000)
