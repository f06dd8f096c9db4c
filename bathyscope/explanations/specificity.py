"""Specificity: how well the description fits text of each interval of activation, on a scale from 0 to 3.

After Templeton et al. 2024 (Scaling Monosemanticity), with wording of our own: 0 has nothing to do with it, 1 something
broader, 2 nearly, 3 exactly. A specific feature has its 3s in the high intervals, and 0s where it does not fire.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bathyscope.evaluation.scores import Score, score
from bathyscope.explanations.passages import GROUPS, Passage
from bathyscope.explanations.prompts import Prompt
from bathyscope.explanations.scores.detection import shares
from bathyscope.explanations.scores.figures import figure
from bathyscope.explanations.scores.measured import Measured, Statistic, measured
from bathyscope.models.writers.writer import Judge, Question

LEVELS = ("0", "1", "2", "3")


@dataclass(frozen=True, slots=True, kw_only=True)
class Specificity:
    """One question per passage; the value is the expected level, Σ level · p(level)."""

    judge: Judge
    prompt: Prompt
    name: str = "specificity"
    statistics: tuple[Statistic, ...] = ("correlation",)
    reads_explanation: bool = True

    def measure(self, explanation: str, passages: Sequence[Passage]) -> list[Measured]:
        """Truth is the activation at the token that the passage is about, as a share of the feature's maximum."""
        prompts = [self.prompt.fill(explanation=explanation, text=passage.text) for passage in passages]
        verdicts = self.judge.choose([Question(prompt=prompt, choices=LEVELS) for prompt in prompts])
        rows: list[Measured] = []
        for passage, p in zip(passages, map(shares, verdicts), strict=True):
            level = None if p is None else (sum(number * share for number, share in enumerate(p)),)
            rows.append(measured(passage, (max(passage.values, default=0.0) / max(passage.maximum, 1e-12),), level))
        return rows


def levels(rows: Mapping[str, Sequence[Measured]], *, seed: int) -> list[Score]:
    """For each condition and group of passages with answers the mean level, and the share at 3 (from 2.5 on)."""
    found: list[Score] = []
    for condition, measured_rows in rows.items():
        for group in GROUPS:
            own = [row for row in measured_rows if row.group == group and row.value is not None]
            if not own:
                continue
            found.append(score(condition, f"specificity: mean level ({group})", figure([own], "accuracy", seed=seed)))
            at_three = [_at_three(row) for row in own]
            found.append(
                score(condition, f"specificity: share at 3 ({group})", figure([at_three], "accuracy", seed=seed))
            )
    return found


def _at_three(row: Measured) -> Measured:
    value = None if row.value is None else (float(row.value[0] >= 2.5),)
    return Measured(
        feature=row.feature, document=row.document, token=row.token, group=row.group, truth=row.truth, value=value
    )
