"""`bathyscope splitting`: which features of a large dictionary come from which feature of a small one."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.splitting import SplittingSettings, splitting


@dataclass(frozen=True, slots=True, kw_only=True)
class Splitting(Command):
    """Which two dictionaries."""

    small: Path
    """Folder of kind `dictionary`, whose features are the parents."""
    large: Path
    """Folder of kind `dictionary`, whose features are the children."""
    out: Path
    """Folder to write (kind `scores`, with the tree in `tree.jsonl`)."""
    activations: Path | None = None
    """Folder of kind `activations`: adds whether children fire where their parents do."""
    settings: SplittingSettings = field(default_factory=SplittingSettings)
    """Where the threshold lies, and how much firing is compared."""


def run(config: Splitting) -> None:
    """Build the tree and print every figure with its interval, nulls included."""
    parents = {"small": config.small, "large": config.large}
    if config.activations is not None:
        parents["activations"] = config.activations
    rows = splitting(
        load_dictionary(config.small),
        load_dictionary(config.large),
        out=config.out,
        store=None if config.activations is None else ActivationStore(config.activations),
        parents=parents,
        settings=config.settings,
    )
    show_scores(rows, as_json=config.json)
