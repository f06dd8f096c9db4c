"""What numbers the settings of a kind may hold. A check raises ConfigError with setting, value and range in one line.

The first checks take the settings and the names of fields: `require_positive(self, "n_features", "k_aux")`.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any

from bathyscope.errors import ConfigError


def require_positive(settings: object, *names: str) -> None:
    """Finite numbers above 0; None passes, for settings that have a default of their own."""
    for name, value in _values(settings, names):
        if value is not None and not 0 < value < math.inf:
            raise ConfigError(f"{name} is {value}: expected a positive number")


def require_not_negative(settings: object, *names: str) -> None:
    """Finite numbers from 0 on; None passes, for settings that have a default of their own."""
    for name, value in _values(settings, names):
        if value is not None and not 0 <= value < math.inf:
            raise ConfigError(f"{name} is {value}: expected 0 or a positive number")


def require_shares_of_run(settings: object, *names: str) -> None:
    """Numbers from 0 to 1."""
    for name, value in _values(settings, names):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value}: expected a share of the run from 0 to 1")


def require_k(k: int, n_features: int) -> None:
    """At least one active feature, at most all of them."""
    if not 0 < k <= n_features:
        raise ConfigError(f"k is {k}: expected 1 to n_features = {n_features}")


def require_falling_k(k: int, k_start: int | None, k_anneal: float, n_features: int) -> None:
    """`k_start`, if it is given, from k to all features, and a share of the run over which it falls to k."""
    require_k(k, n_features)
    if k_start is not None and not k <= k_start <= n_features:
        raise ConfigError(f"k_start is {k_start}: expected k = {k} to n_features = {n_features}, or None")
    if not 0 <= k_anneal <= 1 or (k_anneal == 0 and k_start is not None):
        raise ConfigError(
            f"k_anneal is {k_anneal} and k_start {k_start}: expected a share of the run with a k_start, or 0"
        )


def _values(settings: object, names: Iterable[str]) -> Iterator[tuple[str, Any]]:
    return ((name, getattr(settings, name)) for name in names)
