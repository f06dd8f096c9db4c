"""Whether something that a person or a request gave is a number. Truth values are none, nor are NaN and infinities."""

import math
import reprlib
from numbers import Integral, Real

from bathyscope.errors import ConfigError


def is_whole(value: object) -> bool:
    """Whether it is an integer."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def is_number(value: object) -> bool:
    """Whether it is a finite real number."""
    return is_whole(value) or (isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value))


def require_number(value: object, name: str, expected: str = "a finite number") -> None:
    """Raise ConfigError naming what should have been a number."""
    if not is_number(value):
        raise ConfigError(f"{name} is {reprlib.repr(value)}, expected {expected}")
