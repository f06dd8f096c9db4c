"""`bathyscope completeness`: which listed words have a feature, and how frequent a word must be for even chances."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.completeness import CompletenessSettings, completeness
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness(Command):
    """Which dictionary to measure, on which text."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    activations: Path
    """Folder of kind `activations` with held-out documents."""
    out: Path
    """Folder to write (kind `scores`, with every word in `concepts.jsonl`)."""
    model: str = "smollm2"
    """The model that the activations came from (its tokenizer is read)."""
    settings: CompletenessSettings = field(default_factory=CompletenessSettings)
    """Which words, how much text, and when a word counts as covered."""


def run(config: Completeness) -> None:
    """Measure and print every figure with its interval, nulls included."""
    rows = completeness(
        load_model(config.model),
        load_dictionary(config.dictionary),
        ActivationStore(config.activations),
        out=config.out,
        parents={"dictionary": config.dictionary, "activations": config.activations},
        settings=config.settings,
    )
    show_scores(rows, as_json=config.json)
