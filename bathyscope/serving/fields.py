"""`Fields`: a JSON object from outside, read field by field; what is wrong is refused by the path of the field.

Numbers are finite, `true` is no number, a field that nobody asked for is an error, and null means not given.
"""

import json
from collections.abc import Sequence
from typing import Any, TypeVar

from bathyscope.serving.refusal import Refused
from bathyscope.steering.numbers import is_number, is_whole

T = TypeVar("T")


class Fields:
    """One object of a request."""

    def __init__(self, data: Any, path: str = "") -> None:
        self.path = path
        if not isinstance(data, dict):
            raise Refused(f"{path or 'the body'}: expected an object, found {shown(data)}", param=path or None)
        self._data: dict[str, Any] = data
        self._read: set[str] = set()

    def path_of(self, name: str) -> str:
        """Such as `steer[0].features`."""
        return f"{self.path}.{name}" if self.path else name

    def refuse(self, name: str, expected: str, *, code: str = "invalid_value") -> Refused:
        """The error to raise for the field `name`."""
        path = self.path_of(name)
        found = shown(self._data[name]) if name in self._data else "nothing"
        return Refused(f"{path}: expected {expected}, found {found}", param=path, code=code)

    def take(self, name: str) -> Any:
        """The value as it stands; None when it is null or not given."""
        self._read.add(name)
        return self._data.get(name)

    def needs(self, name: str, expected: str) -> Any:
        """The value as it stands, which must be given."""
        return self.given(name, self.take(name), expected)

    def given(self, name: str, value: T | None, expected: str) -> T:
        """The value that was read of `name`, which must be there."""
        if value is None:
            raise self.refuse(name, expected, code="missing")
        return value

    def number(self, name: str, *, least: float, most: float) -> float | None:
        """A finite number within both bounds."""
        value = self.take(name)
        if value is None:
            return None
        if not is_number(value) or not least <= value <= most:
            raise self.refuse(name, _range("a number", least, most))
        return float(value)

    def whole(self, name: str, *, least: int, most: int) -> int | None:
        """A whole number within both bounds."""
        value = self.take(name)
        if value is not None and not (is_whole(value) and least <= value <= most):
            raise self.refuse(name, _range("a whole number", least, most))
        return value

    def flag(self, name: str) -> bool:
        """True or false; false when it is not given."""
        value = self.take(name)
        if value is not None and not isinstance(value, bool):
            raise self.refuse(name, "true or false")
        return bool(value)

    def text(self, name: str, *, most: int) -> str | None:
        """A text of at most `most` characters."""
        value = self.take(name)
        if value is not None and not (isinstance(value, str) and len(value) <= most):
            raise self.refuse(name, f"a text of at most {most:,} characters")
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        """One of some words."""
        value = self.take(name)
        if value is not None and value not in choices:
            raise self.refuse(name, choices[0] if len(choices) == 1 else f"one of {', '.join(choices)}")
        return value

    def wholes(self, name: str, *, most: int, n_most: int) -> tuple[int, ...]:
        """Whole numbers from 0 to `most`; none when it is not given."""
        value = self.take(name)
        if value is None:
            return ()
        if not isinstance(value, list) or len(value) > n_most:
            raise self.refuse(name, f"a list of at most {n_most:,} whole numbers")
        wrong = [n for n, each in enumerate(value) if not (is_whole(each) and 0 <= each <= most)]
        if wrong:
            path = f"{self.path_of(name)}[{wrong[0]}]"
            expected = _range("a whole number", 0, most)
            raise Refused(f"{path}: expected {expected}, found {shown(value[wrong[0]])}", param=path)
        return tuple(value)

    def texts(self, name: str, *, most: int, n_most: int) -> tuple[str, ...]:
        """One text or a list of them, none of them empty; none when it is not given."""
        value = self.take(name)
        values = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(values, list) or len(values) > n_most:
            raise self.refuse(name, f"a text or a list of at most {n_most}")
        if not all(isinstance(each, str) and 0 < len(each) <= most for each in values):
            raise self.refuse(name, f"texts of 1 to {most:,} characters")
        return tuple(values)

    def child(self, name: str) -> "Fields | None":
        """An object inside this one."""
        value = self.take(name)
        return None if value is None else Fields(value, self.path_of(name))

    def children(self, name: str, *, n_most: int) -> list["Fields"]:
        """A list of objects; empty when it is not given."""
        value = self.take(name)
        if value is None:
            return []
        if not isinstance(value, list) or len(value) > n_most:
            raise self.refuse(name, f"a list of at most {n_most} objects")
        return [Fields(each, f"{self.path_of(name)}[{n}]") for n, each in enumerate(value)]

    def finish(self) -> None:
        """Refuse the first field that nobody has asked for."""
        unknown = sorted(name for name, value in self._data.items() if value is not None and name not in self._read)
        if unknown:
            path = self.path_of(unknown[0][:80])
            known = ", ".join(sorted(self._read))
            raise Refused(f"{path}: there is no such field; expected {known}", param=path, code="unknown_field")


def parse(body: bytes) -> Fields:
    """The object that a request's body holds. Numbers that are no numbers stay, to be refused by their path."""
    try:
        data = json.loads(body, object_pairs_hook=_without_repeats)
        json.dumps(data, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return Fields(data)
    except (ValueError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused("the body is not JSON", code="invalid_json") from error


def shown(value: Any) -> str:
    """A value for a message: short, one line."""
    match value:
        case dict():
            return "an object"
        case list():
            return f"a list of {len(value)}"
        case _:
            text = json.dumps(value)
            return text if len(text) <= 40 else f"{text[:39]}…"


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        raise Refused(f"the field {shown(name)} is given twice", param=name[:80], code="invalid_json")
    return found


def _range(what: str, least: float | int, most: float | int) -> str:
    return f"{what} from {_plain(least)} to {_plain(most)}"


def _plain(bound: float | int) -> str:
    """A bound without an exponent where it is a whole number."""
    return str(int(bound)) if float(bound).is_integer() else f"{bound:g}"
