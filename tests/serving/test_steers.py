"""The `steer` list: operations and conditions come out as the package's own; the rest is refused by path."""

import math
from typing import Any

import pytest
import torch
from serving.asking import CLAMP, tiny_shelf
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.serving.fields import Fields
from bathyscope.serving.refusal import Refused
from bathyscope.serving.shelf import Shelf, fill_shelf
from bathyscope.serving.steers import OPERATIONS, read_steer
from bathyscope.steering.gates import FeatureGate
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.affine import Affine
from bathyscope.steering.operations.amplify import Amplify
from bathyscope.steering.operations.calibrate import Calibrate
from bathyscope.steering.operations.cap import Cap
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.enforce import Enforce
from bathyscope.steering.operations.project_out import ProjectOut
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.positions import Positions
from bathyscope.steering.schedules import Decay, Ramp, Toward

MAXIMUM, NORM = {"value": 2, "unit": "observed maximum"}, {"value": 0.5, "unit": "typical norm"}


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def shelf(model) -> Shelf:
    return tiny_shelf(model)


def read(model, shelf, *clauses: Any):
    return read_steer(Fields({"steer": list(clauses)}), model, shelf)


def test_every_operation_is_the_package_s_own(model, shelf):
    dic, up = shelf.dictionaries["dic"], shelf.vectors["up"].direction_D
    half = Strength.of_norm(0.5, shelf.norms["layers.1"], hookpoint="layers.1")
    at, row = "layers.1", dic.direction(7)
    cases = {
        "amplify": ({"features": [1, 2], "strength": {"value": -1, "unit": "present"}}, Amplify(dic, (1, 2), -1.0)),
        "clamp": ({"features": [1], "strength": MAXIMUM}, Clamp(dic, (1,), 2.0)),
        "calibrate": ({"features": [1, 2], "strength": MAXIMUM}, Calibrate(dic, (1, 2), Strength(2.0, 2.0, "maximum"))),
        "enforce": ({"features": [1, 2], "strength": NORM}, Enforce(dic, (1, 2), half)),
        "add": ({"direction": "up", "strength": NORM}, Add(up, half, at)),
        "cap": ({"direction": {"feature": 7}, "strength": MAXIMUM}, Cap(row, Strength(2.0, 2.0, "maximum"), at)),
        "affine": ({"direction": "up", "scale": 0, "strength": NORM}, Affine(up, 0.0, half, at)),
        "project_out": ({"directions": ["up", {"feature": 7}]}, ProjectOut(torch.stack([up, row]), at)),
    }
    assert set(cases) == set(OPERATIONS)
    x_ND = torch.randn(6, model.d_model, generator=torch.Generator().manual_seed(0)) * 9
    for name, (fields, expected) in cases.items():
        (clause,) = read(model, shelf, {"operation": name, **fields})
        assert type(clause.operation) is type(expected)
        assert torch.equal(clause.operation.delta(x_ND), expected.delta(x_ND)), name
        assert bool((clause.operation.delta(x_ND) != 0).any()), name


def test_conditions_are_read_as_the_package_knows_them(model, shelf):
    dic = shelf.dictionaries["dic"]
    where = {"part": "generation", "roles": ["assistant"], "stop": 50, "exclude": [{"tokens": [13], "special": True}]}
    gate = {"features": [3], "least": {"value": 0.2, "unit": "observed maximum"}, "latched": True}
    schedule = {"kind": "ramp", "n_tokens": 20, "last": 2}
    (clause,) = read(model, shelf, {**CLAMP, "positions": where, "gate": gate, "schedule": schedule})
    assert clause.where == Positions(
        part="generation", roles=("assistant",), stop=50, exclude=(Positions(tokens=(13,), special=True),)
    )
    assert clause.gate == FeatureGate(dictionary=dic, features=(3,), least=0.2)
    assert clause.latched
    assert clause.schedule == Ramp(n_tokens=20, last=2.0)
    (decaying,) = read(model, shelf, {**CLAMP, "schedule": {"kind": "decay", "half_life": 5}})
    assert decaying.schedule == Decay(half_life=5.0)
    toward = {"kind": "toward", "feature": 5, "target": MAXIMUM, "gain": 0.2}
    (led,) = read(model, shelf, {**CLAMP, "schedule": toward})
    assert led.schedule == Toward(dictionary=dic, feature=5, target=2.0, gain=0.2)


def test_a_control_moves_as_far_along_a_random_direction(model, shelf):
    (clause,) = read(model, shelf, {**CLAMP, "control_seed": 3})
    assert clause.operation == RandomDirection(Clamp(shelf.dictionaries["dic"], (5,), 4.0), 3)


def deep(n: int) -> dict[str, Any]:
    """Exclusions within exclusions."""
    return {"exclude": [deep(n - 1)]} if n else {}


BAD: list[tuple[Any, str]] = [
    (5, "steer[0]"),
    ({**CLAMP, "operation": "explode"}, "steer[0].operation"),
    ({**CLAMP, "operation": "__import__"}, "steer[0].operation"),
    ({**CLAMP, "features": [48]}, "steer[0].features[0]"),
    ({**CLAMP, "features": [5, -1]}, "steer[0].features[1]"),
    ({**CLAMP, "features": [True]}, "steer[0].features[0]"),
    ({**CLAMP, "features": ["12"]}, "steer[0].features[0]"),
    ({**CLAMP, "features": [12.0]}, "steer[0].features[0]"),
    ({**CLAMP, "features": []}, "steer[0].features"),
    ({**CLAMP, "features": [5, 5]}, "steer[0].features"),
    ({**CLAMP, "features": list(range(48)) * 6}, "steer[0].features"),
    ({**CLAMP, "feature": [5]}, "steer[0].feature"),
    ({**CLAMP, "dictionary": "other"}, "steer[0].dictionary"),
    ({**CLAMP, "strength": 4}, "steer[0].strength"),
    ({**CLAMP, "strength": {"value": 4}}, "steer[0].strength.unit"),
    ({**CLAMP, "strength": {"value": 4, "unit": "typical norm"}}, "steer[0].strength.unit"),
    ({**CLAMP, "strength": {**MAXIMUM, "value": math.nan}}, "steer[0].strength.value"),
    ({**CLAMP, "strength": {**MAXIMUM, "value": math.inf}}, "steer[0].strength.value"),
    ({**CLAMP, "strength": {**MAXIMUM, "value": 1e9}}, "steer[0].strength.value"),
    ({**CLAMP, "strength": {**MAXIMUM, "at": 1}}, "steer[0].strength.at"),
    ({**CLAMP, "positions": {"part": "everywhere"}}, "steer[0].positions.part"),
    ({**CLAMP, "positions": {"roles": ["robot"]}}, "steer[0].positions"),
    ({**CLAMP, "positions": {"start": -3}}, "steer[0].positions"),
    ({**CLAMP, "positions": {"tokens": [9999]}}, "steer[0].positions.tokens[0]"),
    ({**CLAMP, "positions": deep(4)}, "steer[0].positions" + 3 * ".exclude[0]" + ".exclude"),
    ({**CLAMP, "gate": {"features": [3], "least": 0.2}}, "steer[0].gate.least"),
    ({**CLAMP, "schedule": {"kind": "ramp", "n_tokens": 0}}, "steer[0].schedule.n_tokens"),
    ({**CLAMP, "schedule": {"n_tokens": 5}}, "steer[0].schedule.kind"),
    ({**CLAMP, "control_seed": -1}, "steer[0].control_seed"),
    ({"operation": "add", "direction": "down", "strength": NORM}, "steer[0].direction"),
    ({"operation": "add", "direction": {"feature": 99}, "strength": NORM}, "steer[0].direction.feature"),
    ({"operation": "add", "direction": "up", "strength": MAXIMUM}, "steer[0].strength.unit"),
    ({"operation": "add", "direction": "up"}, "steer[0].strength"),
    ({"operation": "project_out", "directions": []}, "steer[0].directions"),
    ({"operation": "affine", "direction": "up"}, "steer[0].scale"),
]  # fmt: skip


@pytest.mark.parametrize(("clause", "param"), BAD, ids=[param for _, param in BAD])
def test_a_bad_clause_is_refused_by_its_path(model, shelf, clause, param):
    with pytest.raises(Refused) as caught:
        read(model, shelf, clause)
    assert caught.value.param == param
    assert caught.value.status == 400
    assert param in str(caught.value)


def test_a_refusal_says_what_to_write_instead(model, shelf):
    with pytest.raises(Refused, match=r'expected \{"value": number, "unit": "observed maximum"\}, found 4$'):
        read(model, shelf, {**CLAMP, "strength": 4})
    with pytest.raises(Refused, match=r'expected a whole number from 0 to 47, found "12"$'):
        read(model, shelf, {**CLAMP, "features": ["12"]})
    with pytest.raises(Refused, match="give each once"):
        read(model, shelf, {**CLAMP, "features": [5, 5]})
    with pytest.raises(Refused, match=r"from 0 to 2147483647, found -1"):
        read(model, shelf, {**CLAMP, "control_seed": -1})


def test_clauses_that_hold_one_feature_twice_are_refused_unless_they_are_apart(model, shelf):
    other = {**CLAMP, "strength": MAXIMUM}
    with pytest.raises(Refused, match=r"clause 'steer\[0\]' and clause 'steer\[1\]' both hold feature 5") as caught:
        read(model, shelf, CLAMP, other)
    assert caught.value.param == "steer[1]"
    apart = read(
        model,
        shelf,
        *({**each, "positions": {"part": p}} for each, p in zip((CLAMP, other), ("prompt", "generation"), strict=True)),
    )
    assert len(apart) == 2


def test_too_many_clauses_are_refused(model, shelf):
    with pytest.raises(Refused, match="at most 16 objects"):
        read(model, shelf, *([CLAMP] * 17))


def test_of_two_dictionaries_one_has_to_be_named(model):
    two = fill_shelf(model, dictionaries=[(name, random_dictionary(model)) for name in ("one", "two")])
    with pytest.raises(Refused, match=r"steer\[0\]\.dictionary: expected one of one, two"):
        read(model, two, CLAMP)
    (clause,) = read(model, two, {**CLAMP, "dictionary": "two"})
    assert isinstance(clause.operation, Clamp)
    assert clause.operation.dictionary is two.dictionaries["two"]
