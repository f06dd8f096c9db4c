"""The report as Markdown: what the supports allow, what was found, what the controls say, column by column."""

import math
from collections.abc import Sequence

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.evaluation.identifiability.matching import Matching
from bathyscope.evaluation.identifiability.significance import ColumnEvidence
from bathyscope.evaluation.identifiability.supports import SupportReport
from bathyscope.evaluation.scores import Score

MOST_REASONS = 12
"""Reasons listed in full; the rest is counted."""


def page(
    *,
    supports: SupportReport | None,
    dictionary: Dictionary,
    columns: Sequence[ColumnEvidence],
    matching: Matching | None,
    scores: Sequence[Score],
    warnings: Sequence[str],
    level: float,
) -> str:
    """All sections."""
    n_real = sum(column.is_real for column in columns)
    after = f"{n_real} of {len(columns)} columns are real, at most {level:.0%} of them expected to be false."
    head = ["# Identifiability", "", f"**Before training:** {before(supports)}", "", f"**After training:** {after}", ""]
    return "\n".join(
        [
            *head,
            *_warnings(warnings),
            *_supports(supports),
            *_training(dictionary),
            *_scores(scores),
            *_columns(dictionary, columns, matching, supports),
        ]
    )


def before(supports: SupportReport | None) -> str:
    """The verdict from the supports alone, in a sentence."""
    if supports is None:
        return "no support is known, so whether these pairs can identify concepts is not known."
    text = {
        "identifiable": "the supports tell every concept from every other.",
        "weakly identifiable": "some concepts are told apart by very few pairs.",
        "unknown": "some concepts are told apart only if supports that are not known do it.",
        "not identifiable": "**not identifiable**: some concepts are never told apart, however many pairs there are.",
    }[supports.verdict]
    return f"{text} {supports.reasons[0][0].upper()}{supports.reasons[0][1:]}." if supports.reasons else text


def _warnings(warnings: Sequence[str]) -> list[str]:
    return ["Warnings:", "", *(f"- {warning}" for warning in warnings), ""] if warnings else []


def _supports(supports: SupportReport | None) -> list[str]:
    if supports is None:
        return []
    off = supports.shown_CC.clone()
    off.fill_diagonal_(supports.n_pairs)
    fewest, most = int(supports.changes_C.min()), int(supports.changes_C.max())
    lines = [
        "## Supports",
        "",
        f"- {supports.n_pairs} pairs, {len(supports.names)} concepts; each changes in {fewest} to {most} pairs",
        f"- fewest pairs that show one concept without another: {int(off.min())}",
    ]
    lines += [f"- change in every pair: {', '.join(supports.always)}"] if supports.always else []
    lines += [f"- never change: {', '.join(supports.absent)}"] if supports.absent else []
    lines += [f"- found as a block only: {', '.join(block)}" for block in supports.blocks[:MOST_REASONS]]
    lines += [f"- {reason}" for reason in supports.reasons[:MOST_REASONS]]
    n_more = len(supports.reasons) - MOST_REASONS
    return [*lines, *([f"- and {n_more} more"] if n_more > 0 else []), ""]


def _training(dictionary: Dictionary) -> list[str]:
    figures = dictionary.training
    agreement = figures["agreement_of_restarts"]
    rank, effective = figures["rank"], figures["effective_rank"]
    return [
        "## Training",
        "",
        f"- {figures['pairs']} pairs; shifts vary in {rank} directions, effectively {effective:.1f}",
        f"- bound on L1: {figures['beta']:.3f} of that of random rotations",
        f"- mean square explained: {figures['mean_square_explained']:.4f}",
        f"- agreement of restarts: {'–' if agreement is None else f'{agreement:.4f}'}",
        "",
    ]


def _scores(scores: Sequence[Score]) -> list[str]:
    head = ["## Figures, beside what must fail", "", "| figure | of | value | 95 % interval |", "|---|---|---|---|"]
    ordered = sorted(scores, key=lambda row: row.metric)
    return [*head, *(f"| {row.metric} | {row.subject} | {row.value:.3f} | {_interval(row)} |" for row in ordered), ""]


def _interval(row: Score) -> str:
    return f"{row.low:.3f} to {row.high:.3f}" if math.isfinite(row.low) else "–"


def _columns(
    dictionary: Dictionary,
    columns: Sequence[ColumnEvidence],
    matching: Matching | None,
    supports: SupportReport | None,
) -> list[str]:
    of_column = _concepts(matching, supports)
    head = "| column | real | sparsity T | p sparse | found again | p | code size |"
    lines = ["## Columns", "", head + (" concept |" if of_column else ""), "|" + "---|" * (7 + bool(of_column))]
    largest, smallest = dictionary.max_activation, dictionary.min_activation
    for column in columns:
        low = 0.0 if smallest is None else float(smallest[column.column])
        high = 0.0 if largest is None else float(largest[column.column])
        cells = [
            str(column.column),
            "yes" if column.is_real else "no",
            "constant" if math.isnan(column.sparsity) else f"{column.sparsity:.3f}",
            f"{column.p_sparse:.4f}",
            f"{column.found_again:.3f}",
            f"{column.p:.4f}",
            f"{low:.3g} to {high:.3g}",
        ]
        cells += [of_column.get(column.column, "–")] if of_column else []
        lines.append(f"| {' | '.join(cells)} |")
    return [*lines, ""]


def _concepts(matching: Matching | None, supports: SupportReport | None) -> dict[int, str]:
    """Column → its concept and how well it corresponds."""
    if matching is None:
        return {}
    names = [f"concept {c}" for c in range(len(matching.column_C))] if supports is None else supports.names
    matched = zip(names, matching.column_C, matching.correlation_C, strict=True)
    return {int(column): f"{name} ({correlation:.3f})" for name, column, correlation in matched if column >= 0}
