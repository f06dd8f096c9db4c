"""Frozen dataclasses to JSON and back, without losing or adding a field.

Knows dataclasses, unions of dataclasses (told apart by a `"kind"` entry holding the class name), paths, tuples, lists,
mappings with string keys and plain values. Whatever JSON cannot hold is refused, and so are unknown or missing
fields, by name. Knows nothing of any stage.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

from bathyscope.errors import ConfigError

T = TypeVar("T")


def to_json(value: object) -> Any:
    """`value` as plain JSON data; a dataclass becomes an object with its class name under `"kind"`.

    Raises ConfigError for a value that JSON cannot hold (a tensor, a callable, bytes, a set, a key that is no text, …).
    """
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Path():
            return value.as_posix()
        case Mapping():
            return {_key(key): to_json(item) for key, item in typing.cast(Mapping[object, object], value).items()}
        case list() | tuple():
            return [to_json(item) for item in typing.cast(Sequence[object], value)]
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {f.name: to_json(getattr(value, f.name)) for f in dataclasses.fields(value) if f.init}
            if "kind" in fields:
                raise ConfigError(
                    f"{type(value).__name__} has a field named 'kind': JSON keeps that name for the class"
                )
            return {"kind": type(value).__name__, **fields}
        case _:
            raise ConfigError(f"a setting of type {type(value).__name__} cannot be saved as JSON")


def from_json(cls: type[T], data: object, *, where: str = "settings") -> T:
    """The dataclass (or union member) `cls` that `to_json` wrote as `data`.

    Raises ConfigError naming the field when one is unknown, missing or of the wrong type. A `str | Path` field comes
    back as its first member: JSON does not tell them apart.
    """
    return typing.cast(T, _read(cls, data, where))


def canonical(value: object) -> bytes:
    """`to_json(value)` as bytes that are equal exactly when the settings are equal (sorted keys, no spaces, 5.0 as 5).

    Raises ConfigError for a number that is not finite.
    """
    return json.dumps(_canonical(to_json(value)), sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _canonical(data: Any) -> Any:
    match data:
        case float() if not math.isfinite(data):
            raise ConfigError(f"a setting of {data} cannot be saved as JSON; use None or a finite number")
        case float() if data.is_integer():
            return int(data)
        case list():
            return [_canonical(item) for item in typing.cast(list[Any], data)]
        case dict():
            return {key: _canonical(item) for key, item in typing.cast(dict[str, Any], data).items()}
        case _:
            return data


def _key(key: object) -> str:
    if not isinstance(key, str):
        raise ConfigError(f"a setting with the key {key!r} cannot be saved as JSON: keys must be strings")
    return key


def _read(expected: Any, data: object, where: str) -> object:
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (Union, types.UnionType):
        return _read_union(arguments, data, where)
    if origin in (tuple, list, Sequence) and isinstance(data, list):
        return _read_sequence(origin, arguments, typing.cast(list[object], data), where)
    if origin in (dict, Mapping) and isinstance(data, dict):
        items = typing.cast(dict[str, object], data).items()
        return {key: _read(arguments[1], item, f"{where}.{key}") for key, item in items}
    if dataclasses.is_dataclass(expected) and isinstance(data, dict):
        return _read_dataclass(typing.cast(type, expected), typing.cast(dict[str, object], data), where)
    if expected is Path and isinstance(data, str):
        return Path(data)
    if expected is float and type(data) is int:
        return float(data)
    if not _fits(expected, data):
        raise ConfigError(f"{where}: expected {_name(expected)}, found {data!r}")
    return data


def _fits(expected: Any, data: object) -> bool:
    """Whether plain `data` is of the type: True is no 1, in a Literal neither."""
    if typing.get_origin(expected) is Literal:
        return any(type(data) is type(choice) and data == choice for choice in typing.get_args(expected))
    if expected is Any:
        return True
    if typing.get_origin(expected) is not None or (expected is int and isinstance(data, bool)):
        return False
    return isinstance(expected, type) and isinstance(data, expected)


def _read_union(members: tuple[Any, ...], data: object, where: str) -> object:
    """The member that fits: a dataclass by its `"kind"` (or as the only one), otherwise the first that reads `data`."""
    classes = [member for member in members if dataclasses.is_dataclass(member)]
    tag = typing.cast(dict[str, object], data).get("kind") if isinstance(data, dict) else None
    for member in classes:
        if typing.cast(type, member).__name__ == tag or (isinstance(data, dict) and tag is None and len(classes) == 1):
            return _read(member, data, where)
    for member in members:
        if member not in classes:
            try:
                return _read(member, data, where)
            except ConfigError:
                continue
    names = " | ".join(_name(member) for member in members)
    raise ConfigError(f"{where}: expected {names}, found {data if tag is None else tag!r}")


def _read_sequence(origin: Any, items: tuple[Any, ...], data: list[object], where: str) -> object:
    """A list for `list[X]`, else a tuple: of any length for `tuple[X, ...]` and `Sequence[X]`, or of the one given."""
    any_length = origin is not tuple or (len(items) == 2 and items[1] is Ellipsis)
    if not any_length and len(items) != len(data):
        raise ConfigError(f"{where}: expected {len(items)} entries, found {len(data)}")
    kinds = [items[0]] * len(data) if any_length else list(items)
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
