"""Figures by hand: means over features, passages without an answer left out and counted, intervals over documents."""

import numpy as np
import pytest

from bathyscope.explanations.scores.figures import figure, figures
from bathyscope.explanations.scores.measured import Measured

STATISTICS = {"detection": ("balanced accuracy",)}


def row(feature: int, document: int, truth, value, group="high") -> Measured:
    as_tuple = [entry if isinstance(entry, tuple) or entry is None else (float(entry),) for entry in (truth, value)]
    return Measured(
        feature=feature, document=document, token=document, group=group, truth=as_tuple[0], value=as_tuple[1]
    )


def value(rows, statistic) -> float:
    return figure([rows], statistic, seed=0).value


def test_balanced_accuracy_is_the_mean_of_both_kinds_and_then_of_features():
    first = [row(0, 0, 1, 0.9), row(0, 1, 1, 0.1), row(0, 2, 0, 0.2, "silent")]
    second = [row(1, 3, 1, 0.9), row(1, 4, 0, 0.9, "silent"), row(1, 5, 0, 0.1, "silent")]
    assert value(first, "balanced accuracy") == pytest.approx((0.5 + 1.0) / 2)
    assert value([*first, *second], "balanced accuracy") == pytest.approx((0.75 + 0.75) / 2)
    assert value(first[:2], "balanced accuracy") != value(first[:2], "balanced accuracy"), "one kind alone is none"


def test_the_area_counts_ties_as_half():
    rows = [row(0, 0, 1, 2), row(0, 1, 1, 1), row(0, 2, 0, 1, "silent"), row(0, 3, 0, 0, "silent")]
    assert value(rows, "AUC") == pytest.approx((1 + 1 + 0.5 + 1) / 4)


def test_the_correlation_is_over_all_tokens_of_a_feature():
    rng = np.random.default_rng(0)
    x, y = rng.random((2, 4, 5))
    rows = [row(0, i, tuple(x[i]), tuple(y[i])) for i in range(4)]
    assert value(rows, "correlation") == pytest.approx(np.corrcoef(x.ravel(), y.ravel())[0, 1])
    flat = [row(1, 9, (0.0, 0.0), (1.0, 2.0))]
    assert value([*rows, *flat], "correlation") == pytest.approx(value(rows, "correlation")), "undefined is left out"


def test_a_passage_without_an_answer_is_counted_and_changes_no_figure():
    rows = [row(0, 0, 1, 0.9), row(0, 1, 1, None), row(0, 2, 0, 0.2, "silent"), row(0, 3, 0, None, "silent")]
    found = {score.metric: score for score in figures({("detection", "own"): rows}, STATISTICS, seed=0)}
    assert found["detection: balanced accuracy"].value == 1.0
    assert found["detection: share without an answer"].value == 0.5
    assert found["detection: share without an answer"].n == 4


def test_a_figure_that_nobody_answered_is_left_out_not_zero():
    rows = [row(0, 0, 1, None), row(0, 1, 0, None, "silent")]
    found = figures({("detection", "own"): rows}, STATISTICS, seed=0)
    assert [score.metric for score in found] == ["detection: share without an answer"]
    assert found[0].value == 1.0


def test_intervals_of_activation_keep_the_passages_without_firing():
    rows = [row(0, 0, 1, 0.9, "high"), row(0, 1, 1, 0.1, "low"), row(0, 2, 0, 0.1, "silent")]
    found = {score.metric: score.value for score in figures({("detection", "own"): rows}, STATISTICS, seed=0)}
    assert found["detection: balanced accuracy (high)"] == 1.0
    assert found["detection: balanced accuracy (low)"] == 0.5
    assert "detection: balanced accuracy (middle)" not in found


def test_the_difference_to_shuffled_explanations_is_on_the_same_resamples():
    own = [row(0, d, d % 2, 0.9 if d % 2 else 0.1, "high" if d % 2 else "silent") for d in range(20)]
    found = figures({("detection", "own"): own, ("detection", "shuffled"): own}, STATISTICS, seed=0)
    (difference,) = [score for score in found if score.subject == "own minus shuffled"]
    assert (difference.value, difference.low, difference.high) == (0.0, 0.0, 0.0)


def test_the_interval_covers_the_truth():
    """A judge who is right with probability .8 on ten passages of each document, 50 times."""
    covered = 0
    for trial in range(50):
        rng = np.random.default_rng(trial)
        rows = [
            row(0, document, is_true, float(is_true == (rng.random() < 0.8)), "high" if is_true else "silent")
            for document in range(30)
            for is_true in rng.random(6) < 0.5
        ]
        found = figure([rows], "balanced accuracy", seed=trial)
        covered += found.low <= 0.8 <= found.high
    assert covered / 50 > 0.85


def test_one_document_has_no_interval():
    found = figure([[row(0, 0, 1, 0.9), row(0, 0, 0, 0.1, "silent")]], "balanced accuracy", seed=0)
    assert (found.value, found.low, found.high, found.n) == (1.0, -np.inf, np.inf, 1)
