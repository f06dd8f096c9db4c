"""`bathyscope index`: when each feature fires, how often, what it writes, and next to whom."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.nulls import random_dictionary_on
from bathyscope.features.settings import IndexSettings
from bathyscope.launch.group import joined
from bathyscope.launch.stages import index_together
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Index(Command):
    """Which dictionary to index, over which text."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    activations: Path
    """Folder of kind `activations`; its held-out documents are indexed."""
    out: Path
    """Folder to write (kind `features`)."""
    random_directions: bool = False
    """Index a random dictionary of the same size and sparsity instead: the null of everything made from an index."""
    model: str = "smollm2"
    """The model the activations came from (its unembedding is read)."""
    settings: IndexSettings = field(default_factory=IndexSettings)
    """What is kept for each feature."""


def run(config: Index) -> None:
    """Index and print a summary."""
    dictionary, store = load_dictionary(config.dictionary), ActivationStore(config.activations)
    if config.random_directions:
        dictionary = random_dictionary_on(store, dictionary, seed=config.settings.seed)
    with joined() as mesh:
        index = index_together(
            mesh,
            load_model(config.model),
            dictionary,
            store,
            out=config.out,
            settings=config.settings,
        )
    figures = {
        "features": str(config.out),
        "tokens": index.summary["n_tokens"],
        "documents": index.summary["n_documents"],
    }
    result({**figures, "silent features": index.summary["n_silent_features"]}, as_json=config.json)
