"""Detection of concepts as Markdown: methods over all sets, then set by set. Knows rows alone."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from bathyscope.evaluation.scores import Score
from bathyscope.vectors.detection import HARD, OTHER

AREA, F1 = "AUROC", "F1"
MEAN, GAIN, ABOVE = "mean of sets", "AUROC over bag of words", "sets above bag of words"
NOTE = (
    "Figures of the reporting half; in brackets 95 % intervals, over groups of texts for a set, over sets for a mean. "
    "F1 and false alarms (shares of false texts that are called true) at the threshold that tells the teaching half "
    "best. Both labels are equally frequent: calling every text true gives an F1 of .67. Nulls are marked °; the "
    "bracket of random directions holds the middle 95 % of them. A method's mean is over the sets that it was tried "
    "on, its gain over the bag of words is paired on the same ones."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """What a table says of a set."""

    question: str
    """What the label true means."""
    teaching: int
    """Texts of the teaching half."""
    reporting: int
    """Texts of the reporting half."""
    hard: int
    """Hard negatives among those."""
    groups: int
    """Groups of the reporting half."""
    is_paired: bool
    """Whether learners saw pairs."""


def detection_table(rows: Sequence[Score], sets: Mapping[str, SetFacts], *, nulls: frozenset[str]) -> str:
    """All tables."""
    cells = {(row.subject, row.metric): row for row in rows}
    subjects = list(dict.fromkeys(row.subject for row in rows))
    subjects.sort(key=lambda subject: -cells[subject, f"{AREA} · {MEAN}"].value)
    titles = {subject: f"{subject}°" if subject in nulls else subject for subject in subjects}
    parts = ["# Detection of concepts", "", NOTE, "", "## Over all sets", ""]
    parts += [*_means(cells, titles), "", "## AUROC", "", *_wide(cells, titles, AREA, list(sets)), ""]
    parts += ["## F1", "", *_wide(cells, titles, F1, list(sets)), ""]
    for name, facts in sets.items():
        parts += [f"## {name}", "", *_facts(facts), "", *_one(cells, titles, name), ""]
    return "\n".join(parts).rstrip() + "\n"


Cells = Mapping[tuple[str, str], Score]


def _means(cells: Cells, titles: Mapping[str, str]) -> Iterator[str]:
    yield f"| method | sets | {AREA} | {F1} | {HARD} | {GAIN} | {ABOVE} |"
    yield "|" + "---|" * 7
    for subject, title in titles.items():
        area, above = cells[subject, f"{AREA} · {MEAN}"], cells.get((subject, ABOVE))
        figures = [_interval(cells.get((subject, f"{figure} · {MEAN}"))) for figure in (AREA, F1, HARD, GAIN)]
        count = "–" if above is None else f"{round(above.value * above.n)} of {above.n}"
        yield f"| {title} | {area.n} | {' | '.join(figures)} | {count} |"


def _wide(cells: Cells, titles: Mapping[str, str], figure: str, sets: Sequence[str]) -> Iterator[str]:
    """A figure of every method on every set, without intervals."""
    yield f"| method | {' | '.join(sets)} |"
    yield "|" + "---|" * (1 + len(sets))
    for subject, title in titles.items():
        own = [cells.get((subject, f"{figure} · {name}")) for name in sets]
        if any(own):
            yield f"| {title} | {' | '.join('–' if row is None else f'{row.value:.2f}' for row in own)} |"


def _facts(facts: SetFacts) -> Iterator[str]:
    pairs = " Learners saw pairs." if facts.is_paired else ""
    yield (
        f"{facts.question[:1].upper()}{facts.question[1:]}. {facts.teaching} texts teach, {facts.reporting} of "
        f"{facts.groups} groups report, {facts.hard} of them hard negatives.{pairs}"
    )


def _one(cells: Cells, titles: Mapping[str, str], name: str) -> Iterator[str]:
    """Every method on one set."""
    figures = [
        figure for figure in (AREA, F1, HARD, OTHER) if any(metric == f"{figure} · {name}" for _, metric in cells)
    ]
    yield f"| method | {' | '.join(figures)} |"
    yield "|" + "---|" * (1 + len(figures))
    known = [subject for subject in titles if (subject, f"{AREA} · {name}") in cells]
    for subject in sorted(known, key=lambda subject: -cells[subject, f"{AREA} · {name}"].value):
        own = [_interval(cells.get((subject, f"{figure} · {name}"))) for figure in figures]
        yield f"| {titles[subject]} | {' | '.join(own)} |"


def _interval(row: Score | None) -> str:
    return "–" if row is None else f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
