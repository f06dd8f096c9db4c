"""Settings survive the way to JSON and back, and whatever does not fit is refused by name."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from bathyscope.config import canonical, from_json, to_json
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    width: int = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Sparse:
    k: int
    rate: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Everything:
    method: Dense | Sparse
    name: str
    out: Path = Path("runs/a")
    pair: tuple[int, float] = (1, 2.0)
    many: tuple[str, ...] = ()
    numbers: list[int] = field(default_factory=list[int])
    read_only: Sequence[int] = ()
    nothing: tuple[()] = ()
    ladder: tuple[Dense | None, ...] = (Dense(), None)
    table: Mapping[str, Dense] = field(default_factory=dict[str, Dense])
    mode: Literal["fast", "exact", 1] = "fast"
    limit: int | None = None
    shuffle: bool = True
    share: float = 0.1
    free: Any = None


FULL = Everything(
    method=Sparse(k=3),
    name="Übung",
    out=Path("/data/b c"),
    pair=(7, 0.25),
    many=("x", "y"),
    numbers=[1, 2],
    read_only=(4, 5),
    ladder=(None, Dense(width=2)),
    table={"a": Dense(width=1)},
    mode=1,
    limit=10,
    shuffle=False,
    share=1e-300,
    free={"deep": [1, 2.5, None]},
)


@pytest.mark.parametrize("settings", [FULL, Everything(method=Dense(), name="")])
def test_settings_come_back_equal_after_json_text(settings: Everything) -> None:
    text = json.dumps(to_json(settings))
    assert from_json(Everything, json.loads(text)) == settings


def test_a_missing_optional_field_takes_its_default() -> None:
    read = from_json(Everything, {"method": {"kind": "Dense"}, "name": "n"})
    assert read == Everything(method=Dense(width=8), name="n")


def test_the_kind_entry_tells_members_of_a_union_apart() -> None:
    assert from_json(Everything, {"method": {"kind": "Sparse", "k": 1}, "name": "n"}).method == Sparse(k=1)


def test_the_only_dataclass_of_a_union_needs_no_kind() -> None:
    read = from_json(Everything, {"method": {"kind": "Dense"}, "name": "n", "ladder": [{"width": 3}, None]})
    assert read.ladder == (Dense(width=3), None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widht": 1}, "settings: Everything has no setting named widht"),
        ({"method": {"kind": "Sparse"}}, "settings.method: Sparse lacks the setting k"),
        ({"method": {"kind": "Loud"}}, "settings.method: expected Dense | Sparse, found 'Loud'"),
        ({"method": {"width": 2}}, "settings.method: expected Dense | Sparse, found {'width': 2}"),
        ({"method": 3}, "settings.method: expected Dense | Sparse, found 3"),
        ({"kind": "Dense"}, "settings: expected Everything, found Dense"),
        ({"name": 1}, "settings.name: expected str, found 1"),
        ({"out": 1}, "settings.out: expected Path, found 1"),
        ({"share": True}, "settings.share: expected float, found True"),
        ({"share": "0.1"}, "settings.share: expected float, found '0.1'"),
        ({"shuffle": 1}, "settings.shuffle: expected bool, found 1"),
        ({"limit": True}, "settings.limit: expected int | NoneType, found True"),
        ({"limit": 1.0}, "settings.limit: expected int | NoneType, found 1.0"),
        ({"mode": "slow"}, "settings.mode: expected typing.Literal['fast', 'exact', 1], found 'slow'"),
        ({"mode": True}, "settings.mode: expected typing.Literal['fast', 'exact', 1], found True"),
        ({"pair": [1]}, "settings.pair: expected 2 entries, found 1"),
        ({"pair": [1, 2.0, 3]}, "settings.pair: expected 2 entries, found 3"),
        ({"pair": [True, 2.0]}, "settings.pair[0]: expected int, found True"),
        ({"many": ["x", 2]}, "settings.many[1]: expected str, found 2"),
        ({"many": "xy"}, "settings.many: expected tuple[str, ...], found 'xy'"),
        ({"nothing": [1]}, "settings.nothing: expected 0 entries, found 1"),
        ({"numbers": [1, "2"]}, "settings.numbers[1]: expected int, found '2'"),
        ({"table": {"a": {"wide": 1}}}, "settings.table.a: Dense has no setting named wide"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_json(Everything, {"method": {"kind": "Dense"}, "name": "n"} | change)
    assert str(caught.value) == message


def test_a_whole_number_is_a_float_setting_but_becomes_a_float() -> None:
    share = from_json(Everything, {"method": {"kind": "Dense"}, "name": "n", "share": 1}).share
    assert (share, type(share)) == (1.0, float)


def test_each_kind_of_tuple_keeps_its_length_rule() -> None:
    read = from_json(Everything, {"method": {"kind": "Dense"}, "name": "n", "pair": [1, 2], "many": ["a", "b", "c"]})
    assert read.pair == (1, 2.0)
    assert read.many == ("a", "b", "c")
    assert isinstance(read.read_only, tuple)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, frozenset({"a"}), object(), len, {1: "a"}, range(3)])
def test_what_json_cannot_hold_is_refused(value: object) -> None:
    with pytest.raises(ConfigError, match="cannot be saved as JSON"):
        to_json({"setting": value})


def test_a_field_named_kind_is_refused() -> None:
    @dataclass(frozen=True)
    class Clash:
        kind: str = "x"

    with pytest.raises(ConfigError, match="field named 'kind'"):
        to_json(Clash())


def test_canonical_bytes_are_equal_exactly_when_settings_are() -> None:
    assert canonical({"b": 1, "a": 5.0}) == canonical({"a": 5, "b": 1})
    assert canonical(Sparse(k=3, rate=1)) == canonical(Sparse(k=3, rate=1.0))
    assert canonical(Sparse(k=3)) != canonical(Sparse(k=4))
    assert canonical({"a": 1}) != canonical({"a": True})
    assert canonical({"a": 0.1}) != canonical({"a": 0.1 + 1e-16 * 2})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_canonical_refuses_numbers_that_are_not_finite(value: float) -> None:
    with pytest.raises(ConfigError, match="finite"):
        canonical({"deep": [value]})
