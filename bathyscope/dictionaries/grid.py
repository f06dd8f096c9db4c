"""Members of a sweep: every kind at every size, sparsity and seed, or as a JSON file says."""

import dataclasses
import itertools
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bathyscope.config import from_json
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

    Raises ConfigError for an unknown kind, one that needs more than a size, or a combination given twice.
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
    """Name on the command line → settings class, for every kind."""
    return {cls.__name__.lower(): cls for cls in typing.get_args(Kind)}


def _sparsities(name: str, size: int, k: Sequence[int]) -> list[tuple[Kind, str]]:
    """The kind at each k, with its label."""
    cls = kind_names().get(name.lower().replace("-", ""))
    if cls is None:
        raise ConfigError(f"no kind named {name!r}; expected one of: {', '.join(kind_names())}")
    fields = {field.name for field in dataclasses.fields(cls)}
    if "n_features" not in fields:
        raise ConfigError(f"{name} needs more than a size: name it in a members file")
    label = f"{cls.__name__.lower()}-{size}"
    setting = next((candidate for candidate in SPARSITY if candidate in fields), None)
    if setting is None:
        return [(cls(n_features=size), label)]
    return [(cls(n_features=size, **{setting: value}), f"{label}-{value}") for value in k]
