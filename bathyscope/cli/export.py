"""`bathyscope export`: a run as one HTML file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.web.export import export


@dataclass(frozen=True, slots=True, kw_only=True)
class Export(Command):
    """Which run to show."""

    run: Annotated[Path, tyro.conf.Positional]
    """Folder that holds the artifact folders (activations, dictionary, features, …)."""
    out: Path | None = None
    """Page to write; `page.html` in the run folder when not given."""


def run(config: Export) -> None:
    """Write the page and print where it is."""
    page = export(config.run, out=config.out)
    result({"page": str(page), "bytes": page.stat().st_size}, as_json=config.json)
