"""What is said of one feature across languages, and the card as a page to read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bathyscope.evaluation.scores import Score

NAME = "dictionary"
SAME, OTHER = "the same verse", "another verse of like length"

SHOWN = 10
"""Features listed of each language."""

Sort = Literal["language-free", "one language"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanguageFeature:
    """One row of `features.jsonl`: a feature that was called something on the choosing half."""

    feature: int
    sort: Sort
    language: str | None
    """Its language, if it is of one."""
    agreement: float
    """On the reporting half; 0 where it does not vary."""
    rates: dict[str, float]
    """Share of each language's verses on which it fires, on the reporting half."""
    holds: bool
    """Whether the reporting half calls it the same."""


def language_page(rows: Sequence[Score], features: Sequence[LanguageFeature], *, title: str) -> str:
    """The card as Markdown: overlaps, shares of features with their second look, and the features that hold."""
    table = {(row.subject, row.metric): row for row in rows}
    parts = [f"# Languages: {title}", "", "In brackets 95 % intervals.", ""]
    parts += [f"| overlap of features | {SAME} | {OTHER} | difference |", "|---|---|---|---|"]
    for metric in dict.fromkeys(row.metric for row in rows if row.metric.startswith("overlap")):
        cells = [_interval(table[subject, metric]) for subject in (SAME, OTHER, "difference")]
        parts.append(f"| {metric.removeprefix('overlap · ')} | {' | '.join(cells)} |")
    parts += ["", "| features | share of all | called again on the other half | any feature |", "|---|---|---|---|"]
    for row in rows:
        if row.subject == NAME and not row.metric.startswith("called again"):
            again = [table.get((subject, f"called again · {row.metric}")) for subject in (NAME, "any feature")]
            parts.append(f"| {row.metric} | {' | '.join(_interval(one) if one else '–' for one in (row, *again))} |")
    for sort in ("language-free", "one language"):
        own = [feature for feature in features if feature.sort == sort and feature.holds]
        shown = [one for language in dict.fromkeys(o.language for o in own) for one in _first(own, language)]
        parts += ["", f"## {sort.capitalize()}: {len(own)} features hold on the other half", ""]
        parts += ["| feature | language | agreement | rates |", "|---|---|---|---|"]
        for feature in shown:
            rates = ", ".join(f"{name} {rate:.2f}" for name, rate in feature.rates.items())
            parts.append(f"| {feature.feature} | {feature.language or '–'} | {feature.agreement:.2f} | {rates} |")
    return "\n".join([*parts, ""])


def _first(features: Sequence[LanguageFeature], language: str | None) -> list[LanguageFeature]:
    """The first features of one language, in the order given."""
    return [feature for feature in features if feature.language == language][:SHOWN]


def _interval(row: Score) -> str:
    return f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"
