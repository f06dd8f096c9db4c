"""Concepts as a person writes them down: a TOML file of contrasting sentences, or labelled texts as JSON lines.

Beside this file, to be copied and changed: `safety.toml`, eight concepts that matter for safety, and `topics.toml`, ten
topics to steer towards.
"""

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from bathyscope.errors import ConfigError
from bathyscope.evaluation.labelled import LabelledSet, LabelledText


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """One concept: its contrasts, and words that features of it may be explained by."""

    labelled: LabelledSet
    """Sentences with the concept and without; the two of a pair are one group."""
    words: tuple[str, ...]
    """Words that features of it may be explained by, and that tell an answer about it; may be empty."""
    description: str
    """What a prompt would ask for in words; the name where none is given."""


def safety_definitions() -> list[Definition]:
    """The concepts of `safety.toml`."""
    return _own("safety.toml")


def topic_definitions() -> list[Definition]:
    """The concepts of `topics.toml`."""
    return _own("topics.toml")


def _own(file: str) -> list[Definition]:
    text = resources.files("bathyscope.evaluation").joinpath(file).read_text("utf-8")
    return _definitions(tomllib.loads(text), where=file)


def read_definitions(path: Path) -> list[Definition]:
    """The concepts of a TOML file. Raises ConfigError naming the concept and what is wrong with it."""
    try:
        data = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(f"{path} cannot be read as TOML: {error}") from error
    return _definitions(data, where=path.name)


def read_labelled(path: Path) -> LabelledSet:
    """Labelled texts from JSON lines: `{"text": …, "label": true, "group": "where it is from", "hard": false}`.

    Named after the file; without `group` each text is a group of its own, without `hard` no hard negative. Raises
    ConfigError naming the line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from error
    examples = [_labelled(line, f"{path.name}, line {n}") for n, line in enumerate(lines, start=1) if line.strip()]
    return LabelledSet(name=path.stem, question=f"labelled true in {path.name}", examples=examples)


def _labelled(line: str, where: str) -> LabelledText:
    try:
        row = json.loads(line)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{where} is not JSON: {error}") from error
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or not isinstance(row.get("label"), bool):
        raise ConfigError(f'{where}: expected {{"text": "…", "label": true or false}}, with "group" if there is one')
    is_hard = row.get("hard", False)
    if not isinstance(is_hard, bool) or (is_hard and row["label"]):
        raise ConfigError(f'{where}: "hard" is true or false, and marks texts labelled false alone')
    return LabelledText(row["text"], row["label"], str(row.get("group", where)), is_hard)


def _definitions(data: Mapping[str, Any], *, where: str) -> list[Definition]:
    if not data:
        raise ConfigError(f"{where} defines no concept")
    return [_definition(name, entry, where=where) for name, entry in data.items()]


def _definition(name: str, entry: Any, *, where: str) -> Definition:
    known = {"question": str, "description": str, "words": list, "pairs": list}
    if not isinstance(entry, dict) or "pairs" not in entry or not set(entry) <= set(known):
        raise ConfigError(
            f"{where}: [{name}] needs `pairs`, and may have `question`, `description` and `words`; nothing else"
        )
    wrong = [key for key, kind in known.items() if key in entry and not isinstance(entry[key], kind)]
    if wrong:
        raise ConfigError(f"{where}: `{wrong[0]}` of [{name}] is no {known[wrong[0]].__name__}")
    examples: list[LabelledText] = []
    for number, pair in enumerate(entry["pairs"]):
        if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(text, str) for text in pair):
            raise ConfigError(f"{where}: pair {number} of [{name}] is not [with the concept, without it]")
        group = f"pair {number}"
        examples += [LabelledText(pair[0], True, group), LabelledText(pair[1], False, group, is_hard=True)]
    labelled = LabelledSet(name=name, question=entry.get("question", name), examples=examples)
    words, description = tuple(map(str, entry.get("words", ()))), entry.get("description", name)
    return Definition(labelled=labelled, words=words, description=description)
