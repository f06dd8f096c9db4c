"""`bathyscope map`: the features of a dictionary as points of a plane."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.features.plane import PlaneSettings, write_plane


@dataclass(frozen=True, slots=True, kw_only=True)
class Map(Command):
    """Which dictionary, and how its plane is made."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    out: Path
    """Folder to write (kind `map`)."""
    settings: PlaneSettings = field(default_factory=PlaneSettings)
    """How the plane is made."""


def run(config: Map) -> None:
    """Make the plane and print how much of the neighbourhoods it keeps."""
    summary = write_plane(
        load_dictionary(config.dictionary),
        out=config.out,
        parents={"dictionary": config.dictionary},
        settings=config.settings,
    )
    result({"map": str(config.out), **summary}, as_json=config.json)
