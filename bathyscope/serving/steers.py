"""`read_steer`: the `steer` list of a request as clauses. It holds names and numbers; nothing in it is run.

{"operation": "clamp", "features": [12], "strength": {"value": 4, "unit": "observed maximum"},
 "positions": {"part": "generation", "stop": 50}, "gate": {…}, "schedule": {…}, "control_seed": 0}
"""

import json
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.models.model import Model
from bathyscope.models.roles import ROLES
from bathyscope.serving.fields import Fields
from bathyscope.serving.refusal import Refused, blamed_on
from bathyscope.serving.shelf import Shelf, Vector
from bathyscope.steering.clause import Clause
from bathyscope.steering.gates import FeatureGate
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.affine import Affine
from bathyscope.steering.operations.amplify import Amplify
from bathyscope.steering.operations.calibrate import Calibrate
from bathyscope.steering.operations.cap import Cap
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.enforce import Enforce
from bathyscope.steering.operations.features import require_features
from bathyscope.steering.operations.operation import Operation
from bathyscope.steering.operations.project_out import ProjectOut
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.overlap import require_apart
from bathyscope.steering.positions import EVERYWHERE, Positions
from bathyscope.steering.schedules import Decay, Ramp, Schedule, Toward
from bathyscope.steering.steer import require_fit

MAXIMUM, NORM, PRESENT = "observed maximum", "typical norm", "present"
"""Units of strength: the largest code seen in training, the layer's median length, what is there already."""
MAX_CLAUSES, MAX_FEATURES, MAX_EXCLUDED, MAX_DEPTH, MAX_TOKENS = 16, 256, 8, 3, 1024
LARGEST = 1e4
"""Largest strength, in its unit."""


def read_steer(body: Fields, model: Model, shelf: Shelf) -> tuple[Clause, ...]:
    """The clauses of a request, each checked against the model and against those before it.

    Raises Refused with the path of the field, such as `steer[0].features`.
    """
    clauses: list[Clause] = []
    for fields in body.children("steer", n_most=MAX_CLAUSES):
        clauses.append(_Reader(model, shelf).clause(fields))
        with blamed_on(fields.path):
            require_fit(model, clauses[-1])
            require_apart(clauses)
    return tuple(clauses)


class _Reader:
    """Reads one clause."""

    def __init__(self, model: Model, shelf: Shelf) -> None:
        self.model, self.shelf = model, shelf

    def clause(self, fields: Fields) -> Clause:
        name = fields.given("operation", fields.choice("operation", OPERATIONS), f"one of {', '.join(OPERATIONS)}")
        done = _OPERATIONS[name](self, fields)
        seed = fields.whole("control_seed", least=0, most=2**31 - 1)
        gate, latched = self.gate(fields)
        with blamed_on(fields.path):
            clause = Clause(
                operation=done if seed is None else RandomDirection(done, seed),
                where=self.positions(fields.child("positions"), MAX_DEPTH),
                gate=gate,
                latched=latched,
                schedule=self.schedule(fields),
                name=fields.path,
            )
        fields.finish()
        return clause

    def dictionary(self, fields: Fields) -> Dictionary:
        """The one that is named, or the only one."""
        known = self.shelf.dictionaries
        name = fields.choice("dictionary", tuple(known))
        if name is None and len(known) != 1:
            raise fields.refuse("dictionary", f"one of {', '.join(known) or 'none: the server has no dictionary'}")
        return known[name] if name is not None else next(iter(known.values()))

    def features(self, fields: Fields, dictionary: Dictionary) -> tuple[int, ...]:
        """Feature numbers that exist, each once."""
        features = fields.wholes("features", most=dictionary.n_features - 1, n_most=MAX_FEATURES)
        if not features:
            raise fields.refuse("features", "feature numbers, at least one")
        with blamed_on(fields.path_of("features")):
            require_features(dictionary, features)
        return features

    def feature(self, fields: Fields, dictionary: Dictionary) -> int:
        """One feature number."""
        feature = fields.whole("feature", least=0, most=dictionary.n_features - 1)
        return fields.given("feature", feature, f"a whole number from 0 to {dictionary.n_features - 1}")

    def value(self, fields: Fields, name: str, units: Sequence[str]) -> tuple[float, str, Fields]:
        """Number and unit of a strength; a bare number is refused."""
        expected = f'{{"value": number, "unit": {" or ".join(map(json.dumps, units))}}}'
        if not isinstance(fields.needs(name, expected), dict):
            raise fields.refuse(name, expected)
        inner = Fields(fields.take(name), fields.path_of(name))
        value = inner.given("value", inner.number("value", least=-LARGEST, most=LARGEST), "a number")
        unit = inner.given("unit", inner.choice("unit", units), " or ".join(units))
        inner.finish()
        return value, unit, inner

    def strength(
        self, fields: Fields, name: str, hookpoint: str, read: tuple[Dictionary, Sequence[int]] | None
    ) -> Strength:
        """A strength in multiples of the hookpoint's typical norm, or of the mean observed maximum of features."""
        value, unit, inner = self.value(fields, name, (NORM,) if read is None else (NORM, MAXIMUM))
        with blamed_on(inner.path):
            if unit == NORM or read is None:
                return Strength.of_norm(value, self.shelf.norms[hookpoint], hookpoint=hookpoint)
            dictionary, features = read
            each = [Strength.of_maximum(value, dictionary, feature).unit for feature in features]
            return Strength(value, sum(each) / len(each), f"mean observed maximum of features {list(features)}")

    def direction(self, data: Any, path: str) -> tuple[Tensor, str, tuple[Dictionary, Sequence[int]] | None]:
        """Direction, hookpoint, and the feature that it belongs to: from a vector's name or `{"feature": 12}`."""
        if isinstance(data, dict):
            fields = Fields(data, path)
            dictionary = self.dictionary(fields)
            feature = self.feature(fields, dictionary)
            fields.finish()
            with blamed_on(path):
                require_features(dictionary, (feature,))
                assert dictionary.hookpoint is not None
                return dictionary.direction(feature), dictionary.hookpoint, (dictionary, (feature,))
        known = self.shelf.vectors
        if not isinstance(data, str) or data not in known:
            names = ", ".join(list(known)[:20]) or "none: the server has no vectors"
            raise Refused(f'{path}: expected {{"feature": number}} or the name of a vector ({names})', param=path)
        vector: Vector = known[data]
        return vector.direction_D, vector.hookpoint, None

    def positions(self, fields: Fields | None, depth: int) -> Positions:
        """Everywhere when nothing is given."""
        if fields is None:
            return EVERYWHERE
        bound = self.model.context_length
        excluded = fields.children("exclude", n_most=MAX_EXCLUDED if depth else 0)
        roles = fields.texts("roles", most=20, n_most=len(ROLES))
        part = fields.choice("part", ("all", "prompt", "generation"))
        with blamed_on(fields.path):
            found = Positions(
                part="all" if part is None else part,  # pyright: ignore[reportArgumentType]  # one of the choices
                tokens=fields.wholes("tokens", most=self.model.n_vocabulary - 1, n_most=MAX_TOKENS),
                roles=roles,
                start=fields.whole("start", least=-bound, most=bound),
                stop=fields.whole("stop", least=-bound, most=bound),
                special=fields.flag("special"),
                exclude=tuple(self.positions(each, depth - 1) for each in excluded),
            )
        fields.finish()
        return found

    def gate(self, fields: Fields) -> tuple[FeatureGate | None, bool]:
        """`{"features": [807], "least": {"value": 0.2, "unit": "observed maximum"}, "latched": true}`."""
        inner = fields.child("gate")
        if inner is None:
            return None, False
        dictionary = self.dictionary(inner)
        features = self.features(inner, dictionary)
        least, _, _ = self.value(inner, "least", (MAXIMUM,))
        latched = inner.flag("latched")
        inner.finish()
        with blamed_on(inner.path):
            return FeatureGate(dictionary=dictionary, features=features, least=least), latched

    def schedule(self, fields: Fields) -> Schedule | None:
        """`{"kind": "ramp" | "decay" | "toward", …}`."""
        inner = fields.child("schedule")
        if inner is None:
            return None
        kind = inner.given("kind", inner.choice("kind", tuple(_SCHEDULES)), f"one of {', '.join(_SCHEDULES)}")
        read = _SCHEDULES[kind]
        with blamed_on(inner.path):
            schedule = read(self, inner)
        inner.finish()
        return schedule


def _amplify(reader: _Reader, fields: Fields) -> Operation:
    dictionary = reader.dictionary(fields)
    read = fields.choice("read", ("directions", "encoder"))
    alpha, _, _ = reader.value(fields, "strength", (PRESENT,))
    features = reader.features(fields, dictionary)
    return Amplify(dictionary, features, alpha, "encoder" if read == "encoder" else "directions")


def _clamp(reader: _Reader, fields: Fields) -> Operation:
    dictionary = reader.dictionary(fields)
    features = reader.features(fields, dictionary)
    value, _, inner = reader.value(fields, "strength", (MAXIMUM,))
    with blamed_on(inner.path):
        return Clamp(dictionary, features, value)


def _calibrate(reader: _Reader, fields: Fields) -> Operation:
    return Calibrate(*_shared(reader, fields))


def _enforce(reader: _Reader, fields: Fields) -> Operation:
    return Enforce(*_shared(reader, fields))


def _shared(reader: _Reader, fields: Fields) -> tuple[Dictionary, tuple[int, ...], Strength]:
    dictionary = reader.dictionary(fields)
    features = reader.features(fields, dictionary)
    assert dictionary.hookpoint is not None
    return dictionary, features, reader.strength(fields, "strength", dictionary.hookpoint, (dictionary, features))


def _add(reader: _Reader, fields: Fields) -> Operation:
    direction_D, at, read = reader.direction(fields.take("direction"), fields.path_of("direction"))
    return Add(direction_D, reader.strength(fields, "strength", at, read), at)


def _cap(reader: _Reader, fields: Fields) -> Operation:
    direction_D, at, read = reader.direction(fields.take("direction"), fields.path_of("direction"))
    return Cap(direction_D, reader.strength(fields, "strength", at, read), at)


def _affine(reader: _Reader, fields: Fields) -> Operation:
    direction_D, at, read = reader.direction(fields.take("direction"), fields.path_of("direction"))
    scale = fields.given("scale", fields.number("scale", least=-LARGEST, most=LARGEST), "a number")
    shift = None if fields.take("strength") is None else reader.strength(fields, "strength", at, read)
    return Affine(direction_D, scale, shift, at)


def _project_out(reader: _Reader, fields: Fields) -> Operation:
    given = fields.take("directions")
    if not isinstance(given, list) or not 0 < len(given) <= MAX_FEATURES:
        raise fields.refuse("directions", f"a list of 1 to {MAX_FEATURES} directions")
    path = fields.path_of("directions")
    found = [reader.direction(each, f"{path}[{number}]") for number, each in enumerate(given)]
    places = {at for _, at, _ in found}
    if len(places) > 1 or len({len(direction_D) for direction_D, _, _ in found}) > 1:
        raise fields.refuse("directions", "directions of one hookpoint and width")
    with blamed_on(path):
        return ProjectOut(torch.stack([direction_D for direction_D, _, _ in found]), places.pop())


_OPERATIONS: dict[str, Callable[[_Reader, Fields], Operation]] = {
    "add": _add,
    "affine": _affine,
    "amplify": _amplify,
    "calibrate": _calibrate,
    "cap": _cap,
    "clamp": _clamp,
    "enforce": _enforce,
    "project_out": _project_out,
}


def _ramp(reader: _Reader, fields: Fields) -> Schedule:
    n_tokens = fields.whole("n_tokens", least=1, most=reader.model.context_length)
    n_tokens = fields.given("n_tokens", n_tokens, "a whole number")
    first, last = (fields.number(name, least=-LARGEST, most=LARGEST) for name in ("first", "last"))
    return Ramp(n_tokens=n_tokens, first=0.0 if first is None else first, last=1.0 if last is None else last)


def _decay(reader: _Reader, fields: Fields) -> Schedule:
    half_life = fields.number("half_life", least=1e-3, most=LARGEST)
    return Decay(half_life=fields.given("half_life", half_life, "a number of tokens"))


def _toward(reader: _Reader, fields: Fields) -> Schedule:
    dictionary = reader.dictionary(fields)
    feature = reader.feature(fields, dictionary)
    target, _, _ = reader.value(fields, "target", (MAXIMUM,))
    given = {name: fields.number(name, least=0.0, most=LARGEST) for name in ("gain", "first", "most")}
    settings = {name: value for name, value in given.items() if value is not None}
    return Toward(dictionary=dictionary, feature=feature, target=target, **settings)


_SCHEDULES: dict[str, Callable[[_Reader, Fields], Schedule]] = {"decay": _decay, "ramp": _ramp, "toward": _toward}

OPERATIONS = tuple(_OPERATIONS)
"""Names of the operations that a request may ask for."""
