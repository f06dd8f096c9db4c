"""Print the tables of docs/measured.md from a finished demo run: `python benchmarks/demo_tables.py runs/demo`.

Reads manifests and score rows only; measures nothing itself.
"""

import json
import sys
from pathlib import Path

from bathyscope.artifacts import verify
from bathyscope.evaluation.scores import Score, read_scores

STAGES = (
    "activations",
    "dictionary",
    "features",
    "explanations",
    "scores",
    "candidates",
    "generations",
    "steering-scores",
)
SUBJECTS = ("dictionary", "random dictionary", "mean", "zeroed layer")
METRICS = ("variance explained", "CE loss recovered", "CE loss recovered over mean", "KL", "cosine", "L0", "dead share")
EFFECTS = ("target log-prob shift", "KL", "repetition")


def main(run: Path) -> None:
    """Print the stage table, the fidelity table and the steering table of one run."""
    print("| stage | seconds | peak memory so far, MB | digest |\n|---|---|---|---|")
    for stage in STAGES:
        manifest = verify(run / stage)
        peak = manifest.run["peak_memory_bytes"] / 1e6
        print(f"| {stage} | {manifest.run['seconds']:.1f} | {peak:,.0f} | `{manifest.digest[:16]}` |")
    fidelity = {(row.subject, row.metric): row for row in read_scores(run / "scores")}
    print(f"\n| held-out documents | {' | '.join(SUBJECTS)} |\n|---|{'---|' * len(SUBJECTS)}")
    for metric in METRICS:
        print(f"| {metric} | {' | '.join(_cell(fidelity.get((subject, metric))) for subject in SUBJECTS)} |")
    steering = {(row.subject, row.metric): row for row in read_scores(run / "steering-scores")}
    places = dict.fromkeys(metric.split(" · ", 1)[1] for _, metric in steering)
    print(f"\n| steering | arm | {' | '.join(EFFECTS)} |\n|---|---|{'---|' * len(EFFECTS)}")
    for place in places:
        for subject in ("steered feature", "random direction"):
            cells = " | ".join(_cell(steering.get((subject, f"{effect} · {place}"))) for effect in EFFECTS)
            print(f"| {place} | {subject} | {cells} |")
    summary = json.loads((run / "explanations" / "summary.json").read_bytes())
    print(f"\nShare of features whose words beat a random direction: {summary['share_beating_null']:.3f}")


def _cell(row: Score | None) -> str:
    return "–" if row is None else f"{row.value:.3f} [{row.low:.3f}, {row.high:.3f}]"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
