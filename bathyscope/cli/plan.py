"""`bathyscope plan`: what a job will cost before it runs, and how to lay it out."""

from dataclasses import dataclass, field

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.config import to_json
from bathyscope.planning.calibration import calibrate
from bathyscope.planning.plan import plan
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.table import as_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Command):
    """Which job, on what."""

    calibrate: bool = False
    """Measure this machine anew first (about half a minute, best when nothing else runs)."""
    parts: bool = False
    """Show every part of every stage as well."""
    settings: PlanSettings = field(default_factory=PlanSettings)
    """The job."""


def run(config: Plan) -> None:
    """Print the plan; with `--json` one object with totals by stage and the whole plan."""
    if config.calibrate:
        calibrate()
    found = plan(config.settings)
    say(as_table(found, parts=config.parts), as_json=config.json)
    if config.json:
        stages = {
            stage.name: {
                "flops": stage.flops,
                "moved_bytes": stage.moved_bytes,
                "memory_bytes": stage.memory_bytes,
                "disk_bytes": stage.disk_bytes,
                "hours": stage.seconds / 3600,
                "fits": stage.fits,
            }
            for stage in found.stages
        }
        result({"fits": found.fits, "stages": stages, "plan": to_json(found)}, as_json=True)
