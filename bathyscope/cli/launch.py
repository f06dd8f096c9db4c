"""`bathyscope launch`: any of four stages, run by several processes of this machine or of a Ray cluster."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

import tyro

from bathyscope.cli.command import TOGETHER, Command
from bathyscope.errors import ConfigError
from bathyscope.launch.processes import on_this_machine
from bathyscope.launch.ray_tasks import OnRay, RaySettings
from bathyscope.launch.rounds import GroupSettings, run_group


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch(Command):
    """Which stage, how many processes and where: `bathyscope launch --nproc 4 train --activations … topk`."""

    stage: Annotated[tuple[str, ...], tyro.conf.Positional]
    """The stage (collect, train, index or risk) with its own options, behind those of launch."""
    on: Literal["this-machine", "ray"] = "this-machine"
    """Where the processes run; a cluster's machines must see the same disk (extra `ray`)."""
    settings: GroupSettings = field(default_factory=GroupSettings)
    """How many processes, and how often they are started anew."""
    ray: RaySettings = field(default_factory=RaySettings)
    """What each process needs, with `--on ray`."""


def run(config: Launch) -> int:
    """Run the stage; its exit code."""
    if not config.stage or config.stage[0] not in TOGETHER:
        asked = repr(config.stage[0]) if config.stage else "no stage"
        raise ConfigError(f"{asked} cannot be launched: several processes can run {', '.join(TOGETHER)}")
    as_json = ["--json"] if config.json and "--json" not in config.stage else []
    command = [config.stage[0], *as_json, *config.stage[1:]]
    return run_group(command, config.settings, on_this_machine if config.on == "this-machine" else OnRay(config.ray))
