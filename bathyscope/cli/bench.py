"""`bathyscope bench`: measurements where the truth is known, on texts with labels, and on steered answers."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import tyro

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.cli.terminal import result, say
from bathyscope.evaluation.language_bench import SCORES, LanguageBench, bench_language
from bathyscope.evaluation.recovery_bench import SYNTH_SAE_BENCH, TABLE, RecoveryBench, bench_recovery
from bathyscope.evaluation.scores import Score
from bathyscope.evaluation.shift_bench import ShiftBench, bench_shifts
from bathyscope.explanations.bench import ExplanationBench, bench_explanations
from bathyscope.risk.bench.bench import bench_risk
from bathyscope.risk.bench.settings import RiskBench
from bathyscope.risk.layerwise.bench import LayerwiseBench, bench_layerwise
from bathyscope.studies.defence import DefenceBench, bench_defence
from bathyscope.studies.detection import DetectionBench, bench_detection
from bathyscope.studies.hidden_branch import HiddenBranchBench, bench_hidden_branch
from bathyscope.studies.steering import SteeringBench, bench_steering

What = (
    Annotated[RecoveryBench, tyro.conf.subcommand("recovery", default=RecoveryBench())]
    | Annotated[RecoveryBench, tyro.conf.subcommand("synthsaebench-16k", default=SYNTH_SAE_BENCH)]
    | Annotated[ShiftBench, tyro.conf.subcommand("shifts", default=ShiftBench())]
    | Annotated[ExplanationBench, tyro.conf.subcommand("explanations", default=ExplanationBench())]
    | Annotated[LanguageBench, tyro.conf.subcommand("language", default=LanguageBench())]
    | Annotated[SteeringBench, tyro.conf.subcommand("steering", default=SteeringBench())]
    | Annotated[DetectionBench, tyro.conf.subcommand("detection", default=DetectionBench())]
    | Annotated[DefenceBench, tyro.conf.subcommand("defence", default=DefenceBench())]
    | Annotated[RiskBench, tyro.conf.subcommand("risk", default=RiskBench())]
    | Annotated[HiddenBranchBench, tyro.conf.subcommand("hidden-branch", default=HiddenBranchBench())]
    | Annotated[LayerwiseBench, tyro.conf.subcommand("layerwise", default=LayerwiseBench())]
)
"""Every bench, with its default settings."""


class _Made(NamedTuple):
    """How a bench is run."""

    name: str
    """Of its folder in `runs/bench/`; empty: the world's name."""
    bench: Callable[..., list[Score]]
    inside: str
    """The folder of kind `scores` inside; empty where the bench's folder is one."""


_BENCHES: Mapping[type[Any], _Made] = {
    RecoveryBench: _Made("", bench_recovery, ""),
    ShiftBench: _Made("shifts", bench_shifts, ""),
    ExplanationBench: _Made("explanations", bench_explanations, SCORES),
    LanguageBench: _Made("language", bench_language, SCORES),
    SteeringBench: _Made("steering", bench_steering, SCORES),
    DetectionBench: _Made("detection", bench_detection, SCORES),
    DefenceBench: _Made("defence", bench_defence, SCORES),
    RiskBench: _Made("risk", bench_risk, SCORES),
    HiddenBranchBench: _Made("hidden-branch", bench_hidden_branch, SCORES),
    LayerwiseBench: _Made("layerwise", bench_layerwise, ""),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Command):
    """Which bench, and where its figures go."""

    out: Path | None = None
    """Folder to write (kind `scores`); None is `runs/bench/` with the name of the world or bench."""
    what: What = field(default_factory=RecoveryBench)
    """The bench and its settings."""


def run(config: Bench) -> None:
    """Measure and print the table."""
    made = _BENCHES[type(config.what)]
    name = config.what.world if isinstance(config.what, RecoveryBench) else made.name
    folder = config.out or Path("runs/bench") / name
    rows = made.bench(config.what, out=folder)
    table = folder / made.inside / TABLE
    if config.json:
        show_scores(rows, as_json=True)
    else:
        say(table.read_text(), as_json=False)
        if isinstance(config.what, SteeringBench):
            say((folder / "costs" / TABLE).read_text(), as_json=False)
    result({"table": str(table)}, as_json=config.json)
