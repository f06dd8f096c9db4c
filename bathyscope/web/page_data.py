"""Everything one page holds: a small JSON head and named blocks of bytes."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bathyscope
from bathyscope.web import feature_pages
from bathyscope.web.feature_pages import FeaturePages, open_features, to_bytes
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
    pages: FeaturePages | None
    """Features, or None when the run has no index."""
    documents: dict[int, str]
    """Document number → source label, for the documents of the index."""
    answers: list[dict[str, Any]]
    """Generated answers."""

    early = frozenset({"list", "strings"})
    """Blocks that the page needs at once."""

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        if self.pages is None:
            return 1
        return 4 + self.pages.n_token_blocks + self.pages.n_chunks

    def blocks(self) -> Iterator[tuple[str, bytes]]:
        """(name, content) of every block, in a fixed order."""
        yield "answers", to_bytes(self.answers)
        if self.pages is None:
            return
        yield "list", to_bytes(feature_pages.list_columns(self.pages))
        yield "strings", to_bytes(feature_pages.token_strings(self.pages))
        yield "documents", to_bytes(_labels(self.documents))
        for number, block in enumerate(feature_pages.token_blocks(self.pages)):
            yield f"tokens-{number}", block
        for number, chunk in enumerate(feature_pages.chunks(self.pages)):
            yield f"chunk-{number}", to_bytes(chunk)


def gather(path: Path) -> PageData:
    """The data of the run folder `path`. Raises ArtifactError when it holds nothing to show or something damaged."""
    run = open_run(path)
    card = run_card(run)
    index, explanations = run.one("features"), run.one("explanations")
    pages = open_features(index, explanations) if index else None
    answers = answer_rows(run)
    head = {
        "schema": SCHEMA,
        "version": bathyscope.__version__,
        **card,
        "dictionary": _dictionary(run),
        "scores": score_rows(run),
        "features": _features(index, pages) if index and pages else None,
        "words": _words(explanations, pages) if explanations and pages else None,
        "n_answers": len(answers),
    }
    return PageData(
        title=_title(card), head=head, pages=pages, documents=_documents(index), answers=answers
    )


def _title(card: dict[str, Any]) -> str:
    parts = [card["model"].get("name"), card["hookpoint"]]
    return " · ".join(["bathyscope", *(part for part in parts if part)])


def _dictionary(run: RunFolder) -> dict[str, Any] | None:
    """What the dictionary's own settings say, without the model's identity (which the run card shows)."""
    artifact = run.one("dictionary")
    if artifact is None:
        return None
    return {name: value for name, value in artifact.json("config.json").items() if name != "model"}


def _features(index: Artifact, pages: FeaturePages) -> dict[str, Any]:
    """Counts of the index and the layout of its blocks."""
    return {
        "n": pages.n_features,
        "n_silent": int(np.sum(pages.features["n_fires"].to_numpy() == 0)),
        "n_examples": len(pages.example_features),
        "summary": index.json("summary.json"),
        "groups": list(feature_pages.GROUPS),
        "scale_steps": feature_pages.SCALE_STEPS,
        "per_chunk": feature_pages.FEATURES_PER_CHUNK,
        "per_token_block": feature_pages.TOKENS_PER_BLOCK,
        "token_bytes": feature_pages.token_bytes(pages),
        "n_stream_tokens": len(pages.stream.ids),
    }


def _words(explanations: Artifact, pages: FeaturePages) -> dict[str, Any]:
    """Methods of the words and whatever the explanations say about their null."""
    return {"methods": list(pages.words), "summary": explanations.json("summary.json")}


def _documents(index: Artifact | None) -> dict[int, str]:
    """Where the documents of the index come from."""
    content = index.json("sources.json") if index else {}
    return {int(number): str(label) for number, label in content.items()}


def _labels(documents: dict[int, str]) -> dict[str, Any]:
    """Each label once, and for every document the number of its label."""
    labels = sorted(set(documents.values()))
    number = {label: i for i, label in enumerate(labels)}
    return {"labels": labels, "documents": list(documents), "label_of": [number[label] for label in documents.values()]}
