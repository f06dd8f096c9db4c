"""A plan as text: one line a stage, one a part, and what to know about the figures."""

from bathyscope.planning.amounts import bytes_text, duration
from bathyscope.planning.plan import Plan
from bathyscope.planning.stage_plan import StagePlan
from bathyscope.planning.work import UNITS, Part

HEAD = "| stage | EFLOP | TB moved | memory per device | disk | time |"
PARTS_HEAD = "| stage | part | amount | seconds | share |"


def as_table(plan: Plan, *, parts: bool = False) -> str:
    """The plan in Markdown tables; with `parts` every part of every stage."""
    rows = [_stage_row(stage) for stage in plan.stages]
    total = f"| all | | | | | {duration(plan.seconds)} |"
    lines = [_layout_line(plan), "", HEAD, "|---|---|---|---|---|---|", *rows, total, ""]
    if parts:
        own = [_part_row(stage, part) for stage in plan.stages for part in stage.parts]
        lines += [PARTS_HEAD, "|---|---|---|---|---|", *own, ""]
    return "\n".join([*lines, *(f"- {note}" for note in plan.notes)])


def _layout_line(plan: Plan) -> str:
    layout, settings = plan.layout, plan.settings
    split = f"{layout.data_parallel} data × {layout.feature_parallel} feature parallel"
    kept = "activations kept" if layout.keeps_activations else "activations made anew while training"
    return (
        f"{settings.model}, {settings.n_features:,} features, k {settings.k}, {settings.tokens:,} tokens "
        f"× {settings.epochs} on {settings.hardware}: {layout.devices} device(s) ({split}), batch "
        f"{layout.batch_size:,}, {layout.compute}, {kept}"
    )


def _stage_row(stage: StagePlan) -> str:
    memory = bytes_text(stage.memory_bytes) + ("" if stage.fits else " (too much)")
    moved = f"{stage.flops / 1e18:,.4g} | {stage.moved_bytes / 1e12:,.4g}"
    return f"| {stage.name} | {moved} | {memory} | {bytes_text(stage.disk_bytes)} | {duration(stage.seconds)} |"


def _part_row(stage: StagePlan, part: Part) -> str:
    amount = f"{part.amount:,.4g} {UNITS[part.sort]}"
    share = part.seconds / stage.seconds if stage.seconds else 0.0
    return f"| {stage.name} | {part.name} | {amount} | {part.seconds:,.4g} | {share:.0%} |"
