"""Dose–response rows from generation rows, by hand."""

import pytest

from bathyscope.errors import ConfigError
from bathyscope.evaluation.steering.dose_response import dose_response


def row(arm, feature, strength, kl):
    return {"arm": arm, "feature": feature, "strength": strength, "effect": {"KL": kl}}


def test_means_are_taken_over_prompts_per_arm_feature_and_strength():
    rows = [
        row("plain", None, 0.0, 0.0),
        row("feature", 5, 2.0, 1.0),
        row("feature", 5, 2.0, 3.0),
        row("random", 5, 2.0, 0.5),
    ]
    scores = {(s.subject, s.metric): s for s in dose_response(rows, seed=0)}
    steered = scores["steered feature", "KL · feature 5 · 2×"]
    assert (steered.value, steered.n, steered.unit) == (2.0, 2, "prompts")
    assert 1.0 <= steered.low <= 2.0 <= steered.high <= 3.0
    assert scores["random direction", "KL · feature 5 · 2×"].value == 0.5
    assert len(scores) == 2


def test_only_plain_rows_are_refused():
    with pytest.raises(ConfigError, match="no steered answer"):
        dose_response([row("plain", None, 0.0, 0.0)], seed=0)
