"""Expected ranges of figures: what a recipe's `expected.json` says, and which figures are outside."""

from collections.abc import Mapping
from pathlib import Path

from bathyscope.errors import ConfigError
from bathyscope.files import read_json


def read_expected(file: Path, size: str) -> dict[str, tuple[float, float]]:
    """Figure → (lowest, highest) of one size of a recipe. Raises ConfigError naming what is no range."""
    ranges = read_json(file).get(size)
    if not isinstance(ranges, dict):
        raise ConfigError(f"{file} has no figures for the size {size!r}")
    for name, pair in ranges.items():
        is_range = isinstance(pair, list) and len(pair) == 2 and all(isinstance(end, int | float) for end in pair)
        if not is_range or pair[0] > pair[1]:
            raise ConfigError(f"{file}: {name} is {pair!r}, expected [lowest, highest]")
    return {name: (float(low), float(high)) for name, (low, high) in ranges.items()}


def outside(figures: Mapping[str, float], expected: Mapping[str, tuple[float, float]]) -> list[str]:
    """One line for each expected figure that is missing or not within its range (not a number: outside)."""
    lines: list[str] = []
    for name, (low, high) in expected.items():
        if name not in figures:
            lines.append(f"{name} was not measured")
        elif not low <= figures[name] <= high:
            lines.append(f"{name} is {figures[name]:.4g}, expected {low:g} to {high:g}")
    return lines
