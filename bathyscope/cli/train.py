"""`bathyscope train`: a sparse dictionary from activations."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train

Kind = Annotated[TopK, tyro.conf.subcommand("topk")] | Annotated[ReLU, tyro.conf.subcommand("relu")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Train(Command):
    """What to train on, which kind, and how."""

    activations: Path
    """Folder of kind `activations`."""
    out: Path
    """Folder to write (kind `dictionary`)."""
    hookpoint: str | None = None
    """Which hookpoint of the activations; needed only when they hold several."""
    kind: Kind = field(default_factory=TopK)
    """Kind of dictionary."""
    settings: TrainSettings = field(default_factory=TrainSettings)
    """How it is trained."""


def run(config: Train) -> None:
    """Train and print what was learnt."""
    store = ActivationStore(config.activations)
    dictionary = train(store, config.kind, out=config.out, hookpoint=config.hookpoint, settings=config.settings)
    figures = {"dictionary": str(config.out), "features": dictionary.n_features, "hookpoint": dictionary.hookpoint}
    result({**figures, "digest": dictionary.digest}, as_json=config.json)
