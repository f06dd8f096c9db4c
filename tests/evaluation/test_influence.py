"""Influence scores by hand: two prompts, one feature, two random directions and one other feature."""

import json

import pytest

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ArtifactError
from bathyscope.evaluation.influence import influence_scores

ROWS = [
    ("feature", -1, (2.0, 4.0)),
    ("random direction", 0, (0.0, 1.0)),
    ("random direction", 1, (5.0, 4.0)),
    ("other feature", 7, (1.0, 1.0)),
]


def written(folder, kind="influence"):
    with artifacts.draft(folder, Recipe(kind=kind, config={"made": "by hand"})) as work:
        lines = [
            {"feature": 3, "arm": arm, "control": control, "prompt": prompt, "shift": shift, "kl": 0.5}
            for arm, control, shifts in ROWS
            for prompt, shift in enumerate(shifts)
        ]
        (work.path / "influence.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def test_gains_are_paired_by_prompt_and_controls_are_counted(tmp_path):
    rows = {(row.subject, row.metric): row for row in influence_scores(written(tmp_path / "influence"))}
    assert rows["feature", "shift · feature 3"].value == 3.0
    assert rows["random direction", "shift · feature 3"].value == 2.5
    assert rows["other feature", "kl · feature 3"].value == 0.5
    gain = rows["feature", "gain over random direction · feature 3"]
    assert (gain.value, gain.low, gain.high) == pytest.approx((0.5, -0.5, 1.5)), "-0.5 on one prompt, 1.5 on the other"
    assert rows["feature", "gain over other feature · feature 3"].value == 2.0
    assert rows["feature", "exceeds random direction · feature 3"].value == 0.5
    assert rows["feature", "exceeds other feature · feature 3"].value == 1.0


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(ArtifactError, match="expected 'influence'"):
        influence_scores(written(tmp_path / "other", kind="generations"))
