"""Score rows and generated answers as the page shows them: every row kept, unknown fields included."""

from typing import Any

from bathyscope.web.numbers import finite
from bathyscope.web.run_folder import RunFolder

SCORES_FILE, ANSWERS_FILE = "scores.jsonl", "generations.jsonl"


def score_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Rows of every folder of kind `scores`, each with the folder it stands in."""
    return [
        {**finite(row), "folder": artifact.path.name}
        for artifact in run.of_kind("scores")
        for row in artifact.rows(SCORES_FILE)
    ]


def answer_rows(run: RunFolder) -> list[dict[str, Any]]:
    """Rows of every folder of kind `generations`, token ids replaced by their number."""
    found: list[dict[str, Any]] = []
    for artifact in run.of_kind("generations"):
        for row in artifact.rows(ANSWERS_FILE):
            kept = {name: value for name, value in row.items() if name not in ("tokens", "prompt_tokens")}
            found.append(finite({**kept, "effect": row.get("effect") or {}, "n_tokens": len(row.get("tokens") or [])}))
    return found
