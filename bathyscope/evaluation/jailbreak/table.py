"""The figures of defences as Markdown: one table for each judge of refusal. No request and no answer stands in it."""

from collections.abc import Mapping, Sequence

from bathyscope.evaluation.jailbreak.figures import ALIKE, ATTACK, BROKEN, MOST_LOSS, PLAIN, USEFUL, WRAPPED
from bathyscope.evaluation.scores import Score

NOTE = (
    f"Strengths chosen on other requests, at a usefulness at most {MOST_LOSS:.1%} below that without a defence; in "
    "brackets 95 % intervals over requests. Corrected: for what the judge gets wrong on answers that people labelled."
)


def table(rows: Sequence[Score], factors: Mapping[str, Mapping[str, float]]) -> str:
    """All tables. `factors` is judge → method → strength."""
    cells = {(row.subject, row.metric): row for row in rows}
    parts = ["# Defences", "", NOTE, ""]
    for judge, of_method in factors.items():
        known = [cells[f"judge of refusal: {judge}", name] for name in ("sensitivity", "specificity")]
        parts += [
            f"## Refusals judged by {judge}",
            "",
            f"On labelled answers: sensitivity {_cell(known[0])}, specificity {_cell(known[1])}.",
            "",
        ]
        metrics = [ATTACK, f"{ATTACK}, corrected", WRAPPED, f"change of {ATTACK}", BROKEN, ALIKE, PLAIN]
        parts.append(f"| defence | strength | {' | '.join(metrics)} | {USEFUL} | usefulness lost |")
        parts.append("|" + "---|" * (len(metrics) + 4))
        for method, factor in of_method.items():
            own = [_cell(cells.get((method, f"{metric} · {judge}"))) for metric in metrics]
            own += [_cell(cells.get((method, f"{metric} · {judge}"))) for metric in (USEFUL, "usefulness lost")]
            parts.append(f"| {method} | {f'{factor:g}' if factor else '–'} | {' | '.join(own)} |")
        parts.append("")
    return "\n".join(parts).rstrip() + "\n"


def _cell(row: Score | None) -> str:
    return "–" if row is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
