"""`bathyscope shifts`: concepts from pairs of activations, and the page that says what they are worth."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.evaluation.identifiability.page import before
from bathyscope.evaluation.identifiability.report import PAGE, identifiability
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings
from bathyscope.evaluation.identifiability.sources import open_pairs


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts(Command):
    """What is learnt from, and how it is tested."""

    pairs: Path
    """Folder of kind `pairs`, or a file of both sides of each pair, [P, 2, D]: `.npy`, or `.safetensors` with `pairs`
    (and `support` [P, C])."""
    hookpoint: str | None = None
    """Which hookpoint of a folder of pairs; needed only when it holds several."""
    out: Path
    """Run folder: `dictionary` (what was learnt, and its path) and `report` (what it is worth)."""
    settings: IdentifiabilitySettings = field(default_factory=IdentifiabilitySettings)
    """How concepts are learnt and tested."""


def run(config: Shifts) -> None:
    """Learn, test and print the page."""
    shifts_PD, known, origin = open_pairs(config.pairs, hookpoint=config.hookpoint)
    folder = config.out / "dictionary"
    dictionary = learn_shifts(shifts_PD, config.settings.shifts, out=folder, origin=origin)
    report = identifiability(
        shifts_PD, known=known, dictionary=dictionary, settings=config.settings, out=config.out / "report"
    )
    say(report.page, as_json=config.json)
    figures = {"dictionary": str(config.out / "dictionary"), "report": str(config.out / "report" / PAGE)}
    figures |= {
        "real columns": report.n_real,
        "columns": len(report.columns),
        "before training": before(report.supports),
    }
    result(figures, as_json=config.json)
