"""Score rows and generated answers as the page shows them: every row kept, unknown fields included."""

import math
from typing import Any

from bathyscope.web.run_folder import RunFolder


def score_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Rows of every folder of kind `scores`, each with the folder it stands in."""
    return [
        {**_finite(row), "folder": artifact.path.name}
        for artifact in run.of_kind("scores")
        if artifact.holds("scores.jsonl")
        for row in artifact.rows("scores.jsonl")
    ]


def answer_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Rows of every folder of kind `generations`, token ids replaced by their number."""
    found: list[dict[str, Any]] = []
    for artifact in run.of_kind("generations"):
        for row in artifact.rows("generations.jsonl") if artifact.holds("generations.jsonl") else []:
            kept = _finite({name: value for name, value in row.items() if name not in ("tokens", "prompt_tokens")})
            kept["effect"] = _finite(row.get("effect") or {})
            kept["n_tokens"] = len(row.get("tokens") or [])
            found.append(kept)
    return found


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """The row with numbers that JSON cannot hold as None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
