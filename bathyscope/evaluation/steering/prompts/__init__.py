"""What is said to a language model that rates answers, as files to edit."""

from collections.abc import Mapping
from pathlib import Path

from bathyscope.evaluation.steering.judges.judge import Aspect
from bathyscope.models.writers.prompt import Prompt, read_prompt

PLACES: Mapping[Aspect, tuple[str, ...]] = {
    "concept": ("description", "text"),
    "instruction": ("instruction", "text"),
    "fluency": ("text",),
}
"""Every aspect, and the places that its prompt must have."""


def prompt(aspect: Aspect, folder: Path | None = None) -> Prompt:
    """The prompt of an aspect: `folder`/`aspect`.txt where there is such a file, else the library's own."""
    return read_prompt(aspect, PLACES[aspect], package=__name__, folder=folder)
