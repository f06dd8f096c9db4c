"""A feature's evidence for a concept, and the page that shows it: one table for each concept."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bathyscope.evaluation.scores import Score


@dataclass(frozen=True, slots=True, kw_only=True)
class ConceptFeature:
    """One row of `features.jsonl`: a feature that may carry a concept, with its evidence from the reporting half."""

    concept: str
    feature: int
    found_by: str
    """`contrast` (the choosing half), or what the caller says of a feature that it brought, such as `words`."""
    auroc: float
    auroc_low: float
    """Lower end of the 95 % interval; likewise below."""
    auroc_high: float
    recall: float
    recall_low: float
    recall_high: float
    false_alarm: float
    false_alarm_low: float
    false_alarm_high: float
    threshold: float | None
    """The mean code that tells the choosing half best (largest recall less false alarm); None where none does."""
    recall_above: float
    """Share of texts with the concept whose mean code is above `threshold`."""
    recall_above_low: float
    recall_above_high: float
    false_alarm_above: float
    """Share of texts without it whose mean code is above `threshold`."""
    false_alarm_above_low: float
    false_alarm_above_high: float
    null: float
    """The highest of the nulls' quantiles that it has to beat."""
    beats_null: bool
    """Whether `auroc` is above `null`, and `auroc_low` above a half."""


def concept_table(questions: Mapping[str, str], found: Sequence[ConceptFeature], rows: Sequence[Score]) -> str:
    """Markdown: for every concept its features with their evidence, then its baselines and nulls."""
    parts = ["# Features of concepts", "", *_LEGEND, ""]
    for concept, question in questions.items():
        own = [feature for feature in found if feature.concept == concept]
        beating = sum(feature.beats_null for feature in own)
        parts += [f"## {concept}", "", f"{question}; {beating} of {len(own)} features beat the nulls.", ""]
        parts += [
            "| feature | found by | AUROC | recall | false alarm | recall > t | false alarm > t | beats nulls |",
            "|---|---|---|---|---|---|---|---|",
        ]
        parts += [_feature_line(feature) for feature in own]
        parts += ["", "| beside | AUROC |", "|---|---|"]
        parts += [
            f"| {row.subject} | {_interval(row.value, row.low, row.high)} |"
            for row in rows
            if row.metric == f"AUROC · {concept}"
        ]
        parts.append("")
    return "\n".join(parts)


_LEGEND = (
    "Chosen on one half of the texts, reported on the other, in brackets 95 % intervals over groups of texts; of the",
    "nulls their mean and the range that holds 95 % of them. Recall: share of texts with the concept on which the",
    "feature fires; false alarm: share of texts without it; > t: on which its mean code is above the threshold that",
    "tells the choosing half best. A feature beats the nulls when its AUROC is above all of their ranges and its own",
    "interval is above a half: by chance one of forty features does.",
)


def _feature_line(feature: ConceptFeature) -> str:
    cells = [
        str(feature.feature),
        feature.found_by,
        _interval(feature.auroc, feature.auroc_low, feature.auroc_high),
        _interval(feature.recall, feature.recall_low, feature.recall_high),
        _interval(feature.false_alarm, feature.false_alarm_low, feature.false_alarm_high),
        _interval(feature.recall_above, feature.recall_above_low, feature.recall_above_high),
        _interval(feature.false_alarm_above, feature.false_alarm_above_low, feature.false_alarm_above_high),
        "yes" if feature.beats_null else "no",
    ]
    return f"| {' | '.join(cells)} |"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"
