"""`bathyscope materials`: what pinned models and texts there are, and fetch one."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from bathyscope import materials
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result


@dataclass(frozen=True, slots=True, kw_only=True)
class Materials(Command):
    """Which material to fetch."""

    name: Annotated[str | None, tyro.conf.Positional] = None
    """Material to fetch into the cache; without a name, all are listed."""


def run(config: Materials) -> None:
    """List the known materials, or fetch one and print where it came from and under which licence."""
    if config.name is not None:
        result(materials.fetch(config.name).record(), as_json=config.json)
        return
    for entry in materials.known():
        state = "cached" if entry.cached else f"{entry.download_bytes / 1e6:,.0f} MB to fetch"
        figures = {"tier": entry.tier, "licence": entry.licence, "cached": entry.cached, "bytes": entry.download_bytes}
        line = f"tier {entry.tier}, {entry.licence}, {state}: {entry.description}"
        result({"name": entry.name, **figures} if config.json else {entry.name: line}, as_json=config.json)
