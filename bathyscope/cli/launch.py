"""`bathyscope launch`: any of four stages, run by several processes of this machine."""

from dataclasses import dataclass, field
from typing import Annotated

import tyro

from bathyscope.cli.command import TOGETHER, Command
from bathyscope.errors import ConfigError
from bathyscope.launch.processes import GroupSettings, run_group


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Command):
    """Which stage, and how many processes: `bathyscope launch --nproc 4 train --activations … --out … topk`."""

    stage: Annotated[tuple[str, ...], tyro.conf.Positional]
    """The stage (collect, train, index or risk) with its own options."""
    settings: GroupSettings = field(default_factory=GroupSettings)
    """How many processes, and how often they are started anew."""


def run(config: Launch) -> int:
    """Run the stage; its exit code."""
    if not config.stage or config.stage[0] not in TOGETHER:
        asked = repr(config.stage[0]) if config.stage else "no stage"
        raise ConfigError(f"{asked} cannot be launched: several processes can run {', '.join(TOGETHER)}")
    as_json = ["--json"] if config.json and "--json" not in config.stage else []
    return run_group([config.stage[0], *as_json, *config.stage[1:]], config.settings)
