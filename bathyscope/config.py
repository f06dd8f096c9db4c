"""Frozen dataclasses to JSON and back, without losing or adding a field.

Knows dataclasses, unions of dataclasses (told apart by a `"kind"` entry holding the class name), paths, tuples and
plain values. Unknown or missing fields are refused by name. Knows nothing of any stage.
"""

import dataclasses
import json
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from bathyscope.errors import ConfigError

T = TypeVar("T")


def to_json(value: object) -> Any:
    """`value` as plain JSON data; a dataclass becomes an object with its class name under `"kind"`.

    Raises ConfigError for a value that JSON cannot hold (a tensor, a callable, …).
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return value.as_posix()
        case Mapping():
            return {str(key): to_json(item) for key, item in typing.cast(Mapping[str, object], value).items()}
        case Sequence() | frozenset():
            return [to_json(item) for item in typing.cast(Sequence[object], value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
            return {"kind": type(value).__name__, **fields}
        case _:
            raise ConfigError(f"a setting of type {type(value).__name__} cannot be saved as JSON")


def from_json(cls: type[T], data: object, *, where: str = "settings") -> T:
    """The dataclass (or union member) `cls` that `to_json` wrote as `data`.

    Raises ConfigError naming the field when one is unknown, missing or of the wrong type.
    """
    return typing.cast(T, _read(cls, data, where))


def canonical(value: object) -> bytes:
    """`to_json(value)` as bytes that are equal exactly when the settings are equal (sorted keys, no spaces)."""
    return json.dumps(to_json(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _read(expected: Any, data: object, where: str) -> object:
    origin = typing.get_origin(expected)
    if expected is Any:
        return data
    if origin in (Union, types.UnionType):
        return _read_union(typing.get_args(expected), data, where)
    if origin is Literal:
        if data in typing.get_args(expected):
            return data
    elif origin in (tuple, list, Sequence) and isinstance(data, list):
        return _read_sequence(origin, typing.get_args(expected), typing.cast(list[object], data), where)
    elif origin in (dict, Mapping) and isinstance(data, dict):
        item = typing.get_args(expected)[1]
        return {k: _read(item, v, f"{where}.{k}") for k, v in typing.cast(dict[str, object], data).items()}
    elif dataclasses.is_dataclass(expected) and isinstance(data, dict):
        return _read_dataclass(typing.cast(type, expected), typing.cast(dict[str, object], data), where)
    elif expected is Path and isinstance(data, str):
        return Path(data)
    elif expected is float and isinstance(data, int) and not isinstance(data, bool):
        return float(data)
    elif isinstance(expected, type) and origin is None and isinstance(data, expected):
        if not (expected is int and isinstance(data, bool)):
            return data
    raise ConfigError(f"{where}: expected {_name(expected)}, found {data!r}")


def _read_union(members: tuple[Any, ...], data: object, where: str) -> object:
    tag = typing.cast(dict[str, object], data).get("kind") if isinstance(data, dict) else None
    for member in members:
        if dataclasses.is_dataclass(member) and typing.cast(type, member).__name__ == tag:
            return _read(member, data, where)
    for member in members:
        if not dataclasses.is_dataclass(member):
            try:
                return _read(type(None) if member is None else member, data, where)
            except ConfigError:
                continue
    names = " | ".join(_name(member) for member in members)
    raise ConfigError(f"{where}: expected {names}, found {tag if tag is not None else data!r}")


def _read_sequence(origin: Any, items: tuple[Any, ...], data: list[object], where: str) -> object:
    if origin is tuple and len(items) != 2 or (len(items) == 2 and items[1] is not Ellipsis):
        if len(items) != len(data):
            raise ConfigError(f"{where}: expected {len(items)} entries, found {len(data)}")
        kinds = list(items)
    else:
        kinds = [items[0]] * len(data)
    read = [_read(kind, item, f"{where}[{i}]") for i, (kind, item) in enumerate(zip(kinds, data, strict=True))]
    return read if origin is list else tuple(read)


def _read_dataclass(cls: type, data: dict[str, object], where: str) -> object:
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}
    tag = data.get("kind", cls.__name__)
    if tag != cls.__name__:
        raise ConfigError(f"{where}: expected {cls.__name__}, found {tag}")
    unknown = sorted(set(data) - set(fields) - {"kind"})
    if unknown:
        raise ConfigError(f"{where}: {cls.__name__} has no setting named {', '.join(unknown)}")
    missing = sorted(
        name
        for name, f in fields.items()
        if name not in data and f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    )
    if missing:
        raise ConfigError(f"{where}: {cls.__name__} lacks the setting {', '.join(missing)}")
    values = {name: _read(hints[name], data[name], f"{where}.{name}") for name in fields if name in data}
    return cls(**values)


def _name(expected: Any) -> str:
    return expected.__name__ if isinstance(expected, type) else str(expected)
