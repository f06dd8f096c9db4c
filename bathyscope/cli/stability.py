"""`bathyscope stability`: do dictionaries of different seeds have the same features?"""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import load_named, show_scores
from bathyscope.evaluation.stability import StabilitySettings, stability_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Stability(Command):
    """Which dictionaries to compare."""

    dictionary: tuple[Path, ...]
    """Two or more folders of kind `dictionary`; every pair is compared."""
    out: Path
    """Folder to write (kind `scores`)."""
    activations: Path | None = None
    """Folder of kind `activations`: adds figures weighted by how often features fire on its held-out documents."""
    settings: StabilitySettings = field(default_factory=StabilitySettings)
    """What is compared."""


def run(config: Stability) -> None:
    """Compare and print every figure with its interval, nulls included."""
    dictionaries, parents = load_named(config.dictionary)
    store = None if config.activations is None else ActivationStore(config.activations)
    if config.activations is not None:
        parents["activations"] = config.activations
    rows = stability_table(dictionaries, out=config.out, store=store, parents=parents, settings=config.settings)
    show_scores(rows, as_json=config.json)
