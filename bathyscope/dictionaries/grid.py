"""Members of a sweep: every kind at every size, sparsity and seed, or as a JSON file says."""

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bathyscope.config import from_json
from bathyscope.dictionaries.blocks import SideBySide
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.train_many import MemberSettings
from bathyscope.errors import ConfigError
from bathyscope.files import read_json

SPARSITY = ("k", "l0")
"""Names that the number of active features per token has in the settings of the kinds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersFile:
    """A members file: `{"members": {name: settings}}`, settings as in `config.json` or as `MemberSettings`."""

    members: dict[str, Kind | MemberSettings]
    """Name → kind, or kind with its own seed and optimisation."""


def grid(
    kinds: Sequence[str], *, n_features: Sequence[int], k: Sequence[int], seeds: Sequence[int]
) -> dict[str, MemberSettings]:
    """Name → member for every combination. A kind without a setting for L0 comes once for each size and seed.

    Raises ConfigError for an unknown kind, one that needs more than a size or reads several places, or a combination
    given twice.
    """
    members: dict[str, MemberSettings] = {}
    for name, size in itertools.product(kinds, n_features):
        for of, label in _sparsities(name, size, k):
            for seed in seeds:
                full = label if len(seeds) == 1 else f"{label}-seed{seed}"
                if full in members:
                    raise ConfigError(f"{full} is asked twice: name every kind, size, k and seed once")
                members[full] = MemberSettings(of=of, seed=seed)
    return members


def read_members(file: Path) -> dict[str, Kind | MemberSettings]:
    """The members that a JSON file names. Raises ConfigError naming the setting that is unknown or wrong."""
    if not file.is_file():
        raise ConfigError(f'{file} does not exist: expected a JSON file {{"name": {{"kind": "TopK", "k": 16}}, …}}')
    return from_json(MembersFile, {"members": read_json(file)}, where=str(file)).members


def kind_names() -> dict[str, type]:
    """Name on the command line → settings class, for every kind that has a size and reads one place."""
    found = {cls.__name__.lower(): cls for cls in typing.get_args(Kind)}
    return {name: cls for name, cls in found.items() if "n_features" in _fields(cls) and not _reads_places(cls())}


def _fields(cls: type) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _reads_places(kind: object) -> bool:
    """Whether a kind reads several hookpoints or models, which are not compared on one model's held-out documents."""
    return isinstance(kind, SideBySide) and not kind.reads_previous


def _sparsities(name: str, size: int, k: Sequence[int]) -> list[tuple[Kind, str]]:
    """The kind at each k, with its label."""
    cls = kind_names().get(name.lower().replace("-", ""))
    if cls is None:
        others = {cls.__name__.lower() for cls in typing.get_args(Kind)}
        what = "needs more than a size or reads several places, use `train` for it" if name in others else "is no kind"
        raise ConfigError(f"{name!r} {what}; a sweep takes: {', '.join(kind_names())}")
    label = f"{cls.__name__.lower()}-{size}"
    setting = next((candidate for candidate in SPARSITY if candidate in _fields(cls)), None)
    if setting is None:
        return [(cls(n_features=size), label)]
    return [(cls(n_features=size, **{setting: value}), f"{label}-{value}") for value in k]
