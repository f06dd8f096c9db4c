"""Everything one page holds: a small JSON head and named blocks of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bathyscope
from bathyscope.features.layout import SOURCES_FILE, SUMMARY_FILE
from bathyscope.web import feature_pages
from bathyscope.web.feature_source import FeatureSource, open_features
from bathyscope.web.numbers import finite, to_bytes
from bathyscope.web.results import answer_rows, score_rows
from bathyscope.web.run_card import run_card
from bathyscope.web.run_folder import Artifact, RunFolder, open_run

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PageData:
    """The content of a page."""

    title: str
    """Title of the browser's tab."""
    head: dict[str, Any]
    """Cards and counts: small, readable JSON."""
    source: FeatureSource | None
    """Features, or None when the run has no index."""
    documents: dict[int, str]
    """Document number → where it comes from, for the documents of the index."""
    answers: list[dict[str, Any]]
    """Generated answers."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return 1 if self.source is None else 4 + feature_pages.n_blocks(self.source)

    def blocks(self) -> Iterator[tuple[str, bytes]]:
        """(name, content) of every block, in a fixed order."""
        yield "answers", to_bytes(self.answers)
        if self.source is None:
            return
        yield "list", to_bytes(feature_pages.list_columns(self.source))
        yield "strings", to_bytes(feature_pages.token_strings(self.source))
        yield "documents", to_bytes(_labels(self.documents))
        for number, block in enumerate(feature_pages.token_blocks(self.source)):
            yield f"tokens-{number}", block
        for number, chunk in enumerate(feature_pages.chunks(self.source)):
            yield f"chunk-{number}", to_bytes(chunk)


EARLY = ("list", "strings")
"""Blocks that the page needs at once."""


def gather(path: Path) -> PageData:
    """The data of the run folder `path`. Raises ArtifactError when it holds nothing to show or something damaged."""
    run = open_run(path)
    card = run_card(run)
    index, explanations = run.one("features"), run.one("explanations")
    source = open_features(index, explanations) if index else None
    answers = answer_rows(run)
    head = {
        "schema": SCHEMA,
        "version": bathyscope.__version__,
        **card,
        "dictionary": _dictionary(run),
        "scores": score_rows(run),
        "features": {**feature_pages.layout(source), "summary": index.json(SUMMARY_FILE)} if index and source else None,
        "words": {"methods": list(source.words), "summary": explanations.json(SUMMARY_FILE)}
        if explanations and source
        else None,
        "n_answers": len(answers),
    }
    return PageData(title=_title(card), head=finite(head), source=source, documents=_documents(index), answers=answers)


def _title(card: dict[str, Any]) -> str:
    parts = [card["model"].get("name"), card["hookpoint"]]
    return " · ".join(["bathyscope", *(part for part in parts if part)])


def _dictionary(run: RunFolder) -> dict[str, Any] | None:
    """What the dictionary's own settings say, without the model's identity (which the run card shows)."""
    artifact = run.one("dictionary")
    if artifact is None:
        return None
    return {name: value for name, value in artifact.json("config.json").items() if name != "model"}


def _documents(index: Artifact | None) -> dict[int, str]:
    """Where the documents of the index come from."""
    content = index.json(SOURCES_FILE) if index else {}
    return {int(number): str(label) for number, label in content.items()}


def _labels(documents: dict[int, str]) -> dict[str, Any]:
    """Each label once, and for every document the number of its label."""
    labels = sorted(set(documents.values()))
    number = {label: i for i, label in enumerate(labels)}
    return {"labels": labels, "documents": list(documents), "label_of": [number[label] for label in documents.values()]}
