"""`SteeredAnswer`: what a model said under one arm, at one factor, to one instruction.

Reads the `trials.jsonl` that steering wrote; never imports steering.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts

KIND, FILE = "trials", "trials.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class SteeredAnswer:
    """One row of `trials.jsonl`."""

    concept: str
    method: str
    factor: float
    """Strength in units of the arm; 0 for the plain model and for a prompt."""
    instruction: int
    """Number of the instruction."""
    prompt: str
    """The instruction, as it was asked."""
    tokens: tuple[int, ...]
    """Token ids answered."""
    text: str
    """The answer."""
    copy: int = 0
    """Number of the text among those that the arm made of the instruction."""
    given: str | None = None
    """That text; None where the model was given the instruction itself."""


def read_answers(path: Path) -> list[SteeredAnswer]:
    """The rows of a finished folder of kind `trials`. Raises ArtifactError for another kind or an altered file."""
    manifest = artifacts.read_manifest(path, kind=KIND)
    text = artifacts.check_file(path, manifest, FILE).read_text("utf-8")
    return [_answer(json.loads(line)) for line in text.split("\n") if line]


def _answer(row: dict[str, Any]) -> SteeredAnswer:
    return SteeredAnswer(**{**row, "tokens": tuple(row["tokens"])})
