"""The figures of steering as Markdown: a table of methods for each judge of the concept, then the judges themselves."""

from collections.abc import Iterator, Mapping, Sequence

from bathyscope.evaluation.scores import Score
from bathyscope.evaluation.steering.judges.judge import ASPECTS

NOTE = (
    "Scores from 0 to 2, at the strength chosen on the other half of the instructions; in brackets 95 % intervals over "
    "concepts. Nulls are marked °."
)


def table(rows: Sequence[Score], *, nulls: frozenset[str], chosen: Mapping[str, Mapping[str, float]]) -> str:
    """All tables. `chosen` is judge and method → `least` and `most` of the strengths chosen."""
    judges = dict.fromkeys(row.metric.partition(" · ")[2] for row in rows if row.metric.startswith("score · "))
    parts = ["# Steering towards concepts", "", NOTE, ""]
    for judge in judges:
        parts += [f"## Concept judged by {judge}", "", *_methods(rows, judge, nulls, chosen), ""]
        parts += [*_ratios(rows, judge), *_concepts(rows, judge), ""]
    parts += ["## The judges, on texts whose answer is known", "", *_judges(rows), ""]
    rest = [row for row in rows if row.split == "detection"]
    if rest:
        parts += ["## Detection", "", "| method | AUROC |", "|---|---|"]
        parts += [f"| {row.subject} | {_interval(row)} |" for row in rest]
    return "\n".join(parts).rstrip() + "\n"


def _methods(
    rows: Sequence[Score], judge: str, nulls: frozenset[str], chosen: Mapping[str, Mapping[str, float]]
) -> Iterator[str]:
    cells = {
        (row.subject, row.metric.partition(" · ")[0]): row for row in rows if row.metric.partition(" · ")[2] == judge
    }
    named = (subject for subject, name in cells if name == "score")  # of equal ones the first: a set has no order
    methods = sorted(dict.fromkeys(named), key=lambda method: -cells[method, "score"].value)
    yield f"| method | score | {' | '.join(ASPECTS)} | strengths chosen |"
    yield "|" + "---|" * (3 + len(ASPECTS))
    for method in methods:
        factors = chosen.get(f"{judge} · {method}", {})
        span = f"{factors['least']:g} to {factors['most']:g}" if factors.get("most") else "–"
        ratings = " | ".join(f"{cells[method, aspect].value:.2f}" for aspect in ASPECTS)
        yield f"| {method}{'°' if method in nulls else ''} | {_interval(cells[method, 'score'])} | {ratings} | {span} |"


def _ratios(rows: Sequence[Score], judge: str) -> Iterator[str]:
    """A line for each comparison."""
    for row in rows:
        name, _, by = row.metric.partition(" · ")
        for between, said in ((" times that of ", "times the score of"), (" less that of ", "more than the score of")):
            if by == judge and name.startswith("score,") and between in name:
                yield f"{row.subject}: {_interval(row)} {said} {name.partition(between)[2]}."
                yield ""


def _concepts(rows: Sequence[Score], judge: str) -> Iterator[str]:
    """Mean score of each method on each concept."""
    cells: dict[str, dict[str, float]] = {}
    for row in rows:
        name, _, by = row.metric.partition(" · ")
        if by == judge and name.startswith("score of "):
            cells.setdefault(row.subject, {})[name.removeprefix("score of ")] = row.value
    concepts = list(dict.fromkeys(concept for own in cells.values() for concept in own))
    yield f"| method | {' | '.join(concepts)} |"
    yield "|" + "---|" * (1 + len(concepts))
    for method, own in cells.items():
        yield f"| {method} | {' | '.join(f'{own[c]:.2f}' if c in own else '–' for c in concepts)} |"


def _judges(rows: Sequence[Score]) -> Iterator[str]:
    cells: dict[str, dict[str, Score]] = {}
    for row in rows:
        if row.subject.startswith("judge of "):
            cells.setdefault(row.subject.removeprefix("judge of "), {})[row.metric] = row
    metrics = list(dict.fromkeys(metric for own in cells.values() for metric in own))
    yield f"| judge | {' | '.join(metrics)} |"
    yield "|" + "---|" * (1 + len(metrics))
    for judge, own in cells.items():
        yield f"| {judge} | {' | '.join(_interval(own[m]) if m in own else '–' for m in metrics)} |"


def _interval(row: Score) -> str:
    return f"{row.value:.2f} [{row.low:.2f}, {row.high:.2f}]"
