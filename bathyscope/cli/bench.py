"""`bathyscope bench`: measurements where the truth is known, on texts with labels, and on steered answers."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.cli.terminal import result, say
from bathyscope.evaluation.language_bench import SCORES, LanguageBench, bench_language
from bathyscope.evaluation.recovery_bench import SYNTH_SAE_BENCH, TABLE, RecoveryBench, bench_recovery
from bathyscope.evaluation.scores import Score
from bathyscope.evaluation.shift_bench import ShiftBench, bench_shifts
from bathyscope.explanations.bench import ExplanationBench, bench_explanations
from bathyscope.risk.layerwise.bench import LayerwiseBench, bench_layerwise
from bathyscope.studies.defence import DefenceBench, bench_defence
from bathyscope.studies.detection import DetectionBench, bench_detection
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
    | Annotated[LayerwiseBench, tyro.conf.subcommand("layerwise", default=LayerwiseBench())]
)
"""Every bench, with its default settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench(Command):
    """Which bench, and where its figures go."""

    out: Path | None = None
    """Folder to write (kind `scores`); None is `runs/bench/` with the name of the world or bench."""
    what: What = field(default_factory=RecoveryBench)
    """The bench and its settings."""


def run(config: Bench) -> None:
    """Measure and print the table."""
    rows, out = _measure(config)
    if config.json:
        show_scores(rows, as_json=True)
    else:
        say((out / TABLE).read_text(), as_json=False)
        if isinstance(config.what, SteeringBench):
            say((out.parent / "costs" / TABLE).read_text(), as_json=False)
    result({"table": str(out / TABLE)}, as_json=config.json)


def _measure(config: Bench) -> tuple[list[Score], Path]:
    """The rows of the bench, and the folder that holds its table."""
    match config.what:
        case RecoveryBench():
            out = config.out or Path("runs/bench") / config.what.world
            rows = bench_recovery(config.what, out=out)
        case ShiftBench():
            out = config.out or Path("runs/bench/shifts")
            rows = bench_shifts(config.what, out=out)
        case ExplanationBench():
            run_folder = config.out or Path("runs/bench/explanations")
            rows, out = bench_explanations(config.what, out=run_folder), run_folder / SCORES
        case LanguageBench():
            run_folder = config.out or Path("runs/bench/language")
            rows, out = bench_language(config.what, out=run_folder), run_folder / SCORES
        case SteeringBench():
            run_folder = config.out or Path("runs/bench/steering")
            rows, out = bench_steering(config.what, out=run_folder), run_folder / SCORES
        case DetectionBench():
            run_folder = config.out or Path("runs/bench/detection")
            rows, out = bench_detection(config.what, out=run_folder), run_folder / SCORES
        case LayerwiseBench():
            out = config.out or Path("runs/bench/layerwise")
            rows = bench_layerwise(config.what, out=out)
        case DefenceBench():
            run_folder = config.out or Path("runs/bench/defence")
            rows, out = bench_defence(config.what, out=run_folder), run_folder / SCORES
    return rows, out
