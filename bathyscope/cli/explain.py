"""`bathyscope explain`: words for each feature."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.store import ActivationStore
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.explanations.explain import explain
from bathyscope.explanations.firing_information import FiringInformation
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.features.index import FeatureIndex
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Explain(Command):
    """Which features to explain, and how."""

    features: Path
    """Folder of kind `features`."""
    dictionary: Path
    """Folder of kind `dictionary`."""
    out: Path
    """Folder to write (kind `explanations`)."""
    activations: Path | None = None
    """The activations that were indexed: words are read off half of their documents. None: only directions are put
    into words."""
    model: str = "smollm2"
    """The model the dictionary belongs to."""
    method: MutualInformation = field(default_factory=MutualInformation)
    """How directions are put into words."""
    firing: FiringInformation = field(default_factory=FiringInformation)
    """How words are read off the text on which features fire."""


def run(config: Explain) -> None:
    """Explain and print where the words are."""
    explain(
        FeatureIndex(config.features),
        config.method,
        model=load_model(config.model),
        dictionary=load_dictionary(config.dictionary),
        activations=None if config.activations is None else ActivationStore(config.activations),
        firing=config.firing,
        out=config.out,
    )
    result({"explanations": str(config.out)}, as_json=config.json)
