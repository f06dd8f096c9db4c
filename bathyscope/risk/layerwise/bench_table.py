"""The rows of the layer-by-layer bench as Markdown, one table for each study. Knows rows alone."""

import math
from collections.abc import Iterable, Iterator

from bathyscope.evaluation.scores import Score
from bathyscope.risk.layerwise.halfspace_study import HALFSPACES, SLOPE

WENDEL = (
    "P(W x > 0) for 16 rows in four dimensions. For 98.24 % of random W it is exactly 0, and answering 0 has a mean "
    "square error of 9.46e-8, worth 160 samples: errors are over all W, half of those used being size-biased and "
    "weighed back. One sample has the error 1.5e-5. *Any degrees* is the null: as many coefficients, drawn from all."
)
NOTE = (
    "Mean over networks with its 95 % interval (geometric for ratios); seconds are this machine's, taken turn by turn."
)


def layerwise_table(rows: Iterable[Score]) -> str:
    """All tables, with what they need to be read."""
    studies: dict[str, list[Score]] = {}
    for row in rows:
        studies.setdefault(row.split, []).append(row)
    lines: list[str] = [NOTE, ""]
    for study, found in studies.items():
        lines += [f"## {study[0].upper()}{study[1:]}", ""]
        lines += [WENDEL, ""] if study == HALFSPACES else []
        lines += [*_table(found), ""]
    return "\n".join(lines)


def _table(rows: list[Score]) -> Iterator[str]:
    slopes = [row for row in rows if row.metric.startswith(SLOPE)]
    others = [row for row in rows if row not in slopes]
    metrics = list(dict.fromkeys(row.metric for row in others))
    found = {(row.subject, row.metric): row for row in others}
    yield f"| way | {' | '.join(metrics)} |"
    yield "|" + "---|" * (1 + len(metrics))
    for subject in dict.fromkeys(row.subject for row in others):
        cells = [_cell(found.get((subject, metric))) for metric in metrics]
        yield f"| {subject} | {' | '.join(cells)} |"
    if slopes:
        yield ""
        yield from (f"{row.subject}: {row.metric} {_cell(row)}; sampling −1." for row in slopes)


def _cell(row: Score | None) -> str:
    if row is None:
        return "–"
    if not math.isfinite(row.low) or row.low == row.high:
        return f"{row.value:.3g}"
    return f"{row.value:.3g} [{row.low:.3g}, {row.high:.3g}]"
