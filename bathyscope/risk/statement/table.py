"""One table of a statement, read key by key: a key that is missing, strange or of another type is named."""

from collections.abc import Mapping
from typing import Any, TypeVar

from bathyscope.errors import ConfigError

T = TypeVar("T")
WORDS = {str: "a text in quotes", dict: "a table", list: "a list in brackets", int: "a whole number", float: "a number"}
"""What a type is called in a message."""


class Table:
    """Keys and values of one table; `done` refuses what nobody asked for."""

    def __init__(self, where: str, values: Mapping[str, Any]) -> None:
        self.where, self._values = where, dict(values)

    def get(self, key: str, kind: type[T], default: T | None = None) -> T:
        """The value of `key`; an integer stands for a float. Raises ConfigError for another type and for none."""
        value: Any = self._values.pop(key, default)
        if value is None:
            raise ConfigError(f"{self.where} has no {key}; write {key} = …")
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigError(f"{self.where}: {key} is {value!r}, expected {WORDS.get(kind, kind.__name__)}")
        return value

    def has(self, key: str) -> bool:
        """Whether the key stands there and was not read yet."""
        return key in self._values

    def done(self) -> None:
        """Raises ConfigError when keys are left."""
        if self._values:
            raise ConfigError(f"{self.where} has no key {next(iter(self._values))!r}; strike it out")
