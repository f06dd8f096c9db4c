"""What steering costs at the strengths chosen: the same figures as measured plainly, and nothing done twice."""

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.evaluation.steering.side_effects import PLAIN, SideEffectSettings, side_effects
from bathyscope.steering.arm import Arm
from bathyscope.steering.steer import steer
from bathyscope.studies import costs as room
from bathyscope.studies.costs import KL, NEUTRAL, PERPLEXITY, costs

PLACE = "layers.1"
SETTINGS = SideEffectSettings(sets=(), batch_size=len(NEUTRAL))


def arms(factors=(0.5, 1.0)):
    direction_D = torch.randn(D_MODEL, generator=torch.Generator().manual_seed(0))
    made = [
        Arm.adding(concept, "added", direction_D * sign, factors=factors, typical=2.0, hookpoint=PLACE)
        for concept, sign in (("sea", 1), ("money", -1))
    ]
    return [Arm.unsteered("sea", PLAIN), *made]


def test_figures_are_those_of_the_steered_model_at_the_chosen_strengths(tmp_path):
    model, given = tiny_model(), arms()
    chosen = {("sea", "added"): [0.5], ("money", "added"): [0.5, 1.0], ("sea", PLAIN): [0.0]}
    rows = costs(model, given, chosen, hookpoint=PLACE, out=tmp_path / "costs", parents={}, settings=SETTINGS)
    found = {(row.subject, row.metric): row.value for row in rows}
    blocks = {
        f"{arm.concept} {factor}": lambda arm=arm, factor=factor: steer(model, arm.operations[factor])
        for arm in given[1:]
        for factor in arm.operations
    }
    plainly = {(row.subject, row.metric): row.value for row in side_effects(model, blocks, NEUTRAL, settings=SETTINGS)}
    for metric in (KL, PERPLEXITY):
        money = (plainly["money 0.5", metric] + plainly["money 1.0", metric]) / 2
        assert found["added", metric] == pytest.approx((plainly["sea 0.5", metric] + money) / 2, rel=1e-9)
    assert found[PLAIN, PERPLEXITY] == plainly[PLAIN, PERPLEXITY]
    assert found["added", KL] > 0


def test_an_interrupted_run_measures_no_method_twice(tmp_path, monkeypatch):
    model, given = tiny_model(), [*arms(), *(Arm.unsteered("x", "y"),)]
    second = Arm.adding("sea", "other", torch.ones(D_MODEL), factors=(0.5,), typical=2.0, hookpoint=PLACE)
    given.append(second)
    chosen = {("sea", "added"): [0.5], ("sea", "other"): [0.5]}
    asked, measure = list[str](), room.side_effects

    def stopping(*arguments, **named):
        asked.append("asked")
        if len(asked) == 2:
            raise KeyboardInterrupt
        return measure(*arguments, **named)

    monkeypatch.setattr(room, "side_effects", stopping)
    keys = {"hookpoint": PLACE, "parents": {}, "settings": SETTINGS}
    with pytest.raises(KeyboardInterrupt):
        costs(model, given, chosen, out=tmp_path / "costs", **keys)
    rows = costs(model, given, chosen, out=tmp_path / "costs", **keys)
    assert len(asked) == 3, "one method, the one that was interrupted, and it again"
    assert rows == costs(model, given, chosen, out=tmp_path / "whole", **keys)
