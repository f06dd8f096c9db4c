"""Does a held feature raise its own words more than its controls do? Intervals over prompts.

Reads the `influence.jsonl` that steering wrote; never imports steering.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bathyscope import artifacts
from bathyscope.evaluation.intervals import Interval, bootstrap
from bathyscope.evaluation.scores import Score, score

FILE = "influence.jsonl"
OWN = "feature"
CONTROLS = ("random direction", "other feature")


def influence_scores(folder: Path, *, seed: int = 0) -> list[Score]:
    """Per feature: shift of its words and KL for itself and each kind of control, its gain, and how many it exceeds.

    `gain over …` is the feature's shift minus the mean shift of the controls, paired by prompt; `exceeds …` the share
    of controls whose mean shift is smaller (its interval would need more controls and is left open). Raises
    ArtifactError when `folder` is not of kind `influence`.
    """
    manifest = artifacts.read_manifest(folder, kind="influence")
    text = artifacts.check_file(folder, manifest, FILE).read_text()
    by_feature: dict[int, list[dict[str, Any]]] = {}
    for row in map(json.loads, text.splitlines()):
        by_feature.setdefault(row["feature"], []).append(row)
    return [found for feature, rows in by_feature.items() for found in feature_scores(feature, rows, seed=seed)]


def feature_scores(feature: int, rows: Sequence[Mapping[str, Any]], *, seed: int) -> list[Score]:
    """The score rows of one feature from its rows of `influence.jsonl`."""
    found: list[Score] = []
    own_P = _by_prompt(rows, OWN, "shift")
    for arm in (OWN, *CONTROLS):
        if any(row["arm"] == arm for row in rows):
            for figure in ("shift", "kl"):
                interval = _mean(_by_prompt(rows, arm, figure).mean(0), seed)
                found.append(_score(arm, f"{figure} · feature {feature}", interval))
    for arm in CONTROLS:
        if any(row["arm"] == arm for row in rows):
            control_CP = _by_prompt(rows, arm, "shift")
            gain = _mean(own_P[0] - control_CP.mean(0), seed)
            found.append(_score(OWN, f"gain over {arm} · feature {feature}", gain))
            share = float((control_CP.mean(1) < own_P.mean()).mean())
            beaten = Interval(value=share, low=-np.inf, high=np.inf, n=len(control_CP))
            found.append(_score(OWN, f"exceeds {arm} · feature {feature}", beaten, unit="controls"))
    return found


def _by_prompt(rows: Sequence[Mapping[str, Any]], arm: str, figure: str) -> np.ndarray:
    """Controls × prompts, both in order of their number."""
    table = {(row["control"], row["prompt"]): row[figure] for row in rows if row["arm"] == arm}
    controls, prompts = (sorted({key[axis] for key in table}) for axis in (0, 1))
    return np.array([[table[control, prompt] for prompt in prompts] for control in controls])


def _mean(values_P: np.ndarray, seed: int) -> Interval:
    return bootstrap(np.stack([values_P, np.ones(len(values_P))], axis=1), lambda t: t[..., 0] / t[..., 1], seed=seed)


def _score(subject: str, metric: str, interval: Interval, *, unit: str = "prompts") -> Score:
    return score(subject, metric, interval, unit=unit, split="plain answers")
