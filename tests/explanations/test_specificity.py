"""The rubric: a description that fits has its 3s where the feature fires, and answers that are none are no level."""

from explanations.letters import LETTERS, Babbler, Reader, texts

from bathyscope.explanations.passages import PassageSettings, halves
from bathyscope.explanations.prompts import prompt
from bathyscope.explanations.scores.measured import Measured
from bathyscope.explanations.specificity import Specificity, levels


def rows(index, judge) -> list[Measured]:
    scorer = Specificity(judge=judge, prompt=prompt("specificity"))
    passages = {feature: halves(index, feature, PassageSettings()).scoring for feature in range(len(LETTERS))}
    return [row for feature, own in passages.items() for row in scorer.measure(texts()[feature], own)]


def test_levels_stand_by_interval_of_activation(letter_world):
    found = {score.metric: score for score in levels({"own": rows(letter_world, Reader())}, seed=0)}
    assert found["specificity: mean level (high)"].value == 3.0
    assert found["specificity: share at 3 (high)"].value == 1.0
    assert found["specificity: mean level (silent)"].value == 0.0
    assert found["specificity: share at 3 (near miss)"].value == 0.0


def test_no_answer_is_no_level(letter_world):
    measured = rows(letter_world, Babbler())
    assert all(row.value is None for row in measured)
    assert levels({"own": measured}, seed=0) == []
