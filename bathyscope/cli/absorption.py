"""`bathyscope absorption`: how often a first-letter feature is silent because a narrower one has taken its place."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import load_named, show_scores
from bathyscope.evaluation.absorption import AbsorptionSettings, absorption
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Absorption(Command):
    """Which dictionaries to measure."""

    dictionary: tuple[Path, ...]
    """Folders of kind `dictionary`, all of one hookpoint."""
    out: Path
    """Folder to write (kind `scores`)."""
    model: str = "smollm2"
    """The model that the dictionaries were trained on."""
    hookpoint: str | None = None
    """Where the activations are read; only needed when no dictionary says it."""
    settings: AbsorptionSettings = field(default_factory=AbsorptionSettings)
    """Which words are read, and what counts as absorbed."""


def run(config: Absorption) -> None:
    """Measure and print every figure with its interval, nulls included."""
    dictionaries, parents = load_named(config.dictionary)
    rows = absorption(
        load_model(config.model),
        dictionaries,
        out=config.out,
        hookpoint=config.hookpoint,
        parents=parents,
        settings=config.settings,
    )
    show_scores(rows, as_json=config.json)
