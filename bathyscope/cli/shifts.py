"""`bathyscope shifts`: concepts from pairs of activations, and the page that says what they are worth."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.shifts.files import read_pairs
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.pairs import shifts_of
from bathyscope.evaluation.identifiability.page import before
from bathyscope.evaluation.identifiability.report import PAGE, identifiability
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings, KnownConcepts


@dataclass(frozen=True, slots=True, kw_only=True)
class Shifts(Command):
    """What is learnt from, and how it is tested."""

    pairs: Path
    """File of both sides of each pair, [P, 2, D]: `.npy`, or `.safetensors` with `pairs` (and `support` [P, C])."""
    out: Path
    """Run folder: `dictionary` (what was learnt, and its path) and `report` (what it is worth)."""
    settings: IdentifiabilitySettings = field(default_factory=IdentifiabilitySettings)
    """How concepts are learnt and tested."""


def run(config: Shifts) -> None:
    """Learn, test and print the page."""
    pairs_PTD, support_PC = read_pairs(config.pairs)
    shifts_PD = shifts_of(pairs_PTD)
    dictionary = learn_shifts(shifts_PD, config.settings.shifts, out=config.out / "dictionary")
    known = KnownConcepts(support_PC=support_PC)
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
