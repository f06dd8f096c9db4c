"""Dose–response of steering with intervals over prompts, the steered feature beside its random-direction control.

Reads the `generations.jsonl` that steering wrote; never imports steering.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import bootstrap
from bathyscope.evaluation.scores import Score, read_scores, score, write_scores

ARMS = {"feature": "steered feature", "random": "random direction"}


def steering_effects(generations: Path, *, out: Path, seed: int = 0) -> list[Score]:
    """Per feature, strength, arm and effect figure: the mean over prompts with its 95 % interval.

    The metric's name carries feature and strength: `KL · feature 12 · 4×`. The folder `out` is of kind `scores`.
    """
    recipe = Recipe(
        kind="scores",
        config={"subject": "steering effects"},
        seed=seed,
        parents={"generations": generations},
        materials=artifacts.read_manifest(generations, kind="generations").materials,
    )
    if not artifacts.is_finished(out, recipe):
        manifest = artifacts.read_manifest(generations, kind="generations")
        lines = artifacts.check_file(generations, manifest, "generations.jsonl").read_text().splitlines()
        scores = dose_response([json.loads(line) for line in lines if line], seed=seed)
        with artifacts.draft(out, recipe) as work:
            write_scores(work.path, scores)
    return read_scores(out)


def dose_response(rows: list[dict[str, Any]], *, seed: int) -> list[Score]:
    """Score rows from generation rows (see `steering_effects`). Raises ConfigError when no row is steered."""
    groups: dict[tuple[int, float, str], list[dict[str, float]]] = {}
    for row in rows:
        if row["arm"] in ARMS:
            groups.setdefault((row["feature"], row["strength"], row["arm"]), []).append(row["effect"])
    if not groups:
        raise ConfigError("no steered answer in the generations: nothing to compare")
    scores: list[Score] = []
    for (feature, strength, arm), effects in sorted(groups.items()):
        for name in sorted(effects[0]):
            sums_G2 = np.array([[effect[name], 1.0] for effect in effects])
            interval = bootstrap(sums_G2, lambda t: t[..., 0] / t[..., 1], seed=seed)
            metric = f"{name} · feature {feature} · {strength:g}×"
            scores.append(score(ARMS[arm], metric, interval, unit="prompts", split="report prompts"))
    return scores
