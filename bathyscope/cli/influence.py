"""`bathyscope influence`: does a feature, when it is held, make the model say its own words?"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.influence import influence_scores
from bathyscope.explanations.reader import Explanations
from bathyscope.features.index import FeatureIndex
from bathyscope.features.search import require_own_index
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.steering.influence import InfluenceSettings, influence
from bathyscope.steering.targets import read_tokens, word_tokens, written_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Influence(Command):
    """Which features to hold, and which words they should raise."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    index: Path
    """Folder of kind `features`."""
    out: Path
    """Folder to write (kind `influence`)."""
    features: tuple[int, ...]
    """Features to hold, one at a time."""
    words: Literal["writes", "reads", "explained"] = "writes"
    """A feature's own words: tokens that its direction raises, tokens it fires on, or its best explaining words."""
    explanations: Path | None = None
    """Folder of kind `explanations`, for `--words explained`."""
    n_words: int = 10
    """Most words of a feature."""
    model: str = "smollm2"
    """The model that the dictionary belongs to."""
    settings: InfluenceSettings = field(default_factory=InfluenceSettings)
    """How features are held, and on what."""


def run(config: Influence) -> None:
    """Hold every feature and print its figures beside its controls'."""
    model, dictionary = load_model(config.model), load_dictionary(config.dictionary)
    index = FeatureIndex(config.index)
    require_own_index(index, dictionary)
    parents = {"dictionary": config.dictionary, "features": config.index}
    if config.explanations is not None:
        parents["explanations"] = config.explanations
    influence(
        model,
        dictionary,
        {feature: _targets(config, model, index, feature) for feature in config.features},
        out=config.out,
        parents=parents,
        settings=config.settings,
    )
    show_scores(influence_scores(config.out), as_json=config.json)


def _targets(config: Influence, model: Model, index: FeatureIndex, feature: int) -> tuple[int, ...]:
    match config.words:
        case "writes":
            return written_tokens(index, feature, n=config.n_words)
        case "reads":
            return read_tokens(index, feature)[: config.n_words]
        case "explained":
            if config.explanations is None:
                raise ConfigError("--words explained needs --explanations")
            words = Explanations(config.explanations).words(feature)
            return word_tokens(model, [word.word for word in words[: config.n_words]])
