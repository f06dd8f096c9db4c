"""What is said to language models about features, as files to edit."""

from collections.abc import Mapping
from pathlib import Path

from bathyscope.models.writers.prompt import Prompt, read_prompt

__all__ = ["PLACES", "Prompt", "prompt"]

PLACES: Mapping[str, tuple[str, ...]] = {
    "explain-contexts": ("n_words", "fires", "quiet"),
    "explain-words": ("n_words", "words"),
    "verify": ("explanation", "words"),
    "detection": ("explanation", "text"),
    "fuzzing": ("explanation", "text"),
    "intruder": ("passages",),
    "simulation": ("explanation",),
    "specificity": ("explanation", "text"),
}
"""Every prompt, and the places that its text must have."""


def prompt(name: str, folder: Path | None = None) -> Prompt:
    """The prompt `name`: `folder`/`name`.txt where there is such a file, else the library's own.

    Raises ConfigError when the file is empty or lacks a place.
    """
    return read_prompt(name, PLACES[name], package=__name__, folder=folder)
