"""`bathyscope judge`: whether descriptions tell where features fire, with a language model as the judge."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.artifacts import read_manifest
from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.cli.terminal import result, say
from bathyscope.cli.who import JUDGE, Who, answerer
from bathyscope.errors import ConfigError
from bathyscope.explanations.explained import explained
from bathyscope.explanations.scores.judged import (
    TABLE,
    WITHOUT_JUDGE,
    JudgeSettings,
    RandomFeatures,
    judge_explanations,
)
from bathyscope.features.index import FeatureIndex
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeExplanations(Command):
    """Which explanations are scored, how, and by whom."""

    features: Path
    """Folder of kind `features`."""
    explanations: Path
    """Folder of kind `written`, or of kind `explanations` (its best words stand for a description)."""
    out: Path
    """Folder to write (kind `scores`)."""
    random_features: Path | None = None
    """Folder of kind `features` of a random dictionary (`bathyscope index --random-directions`): a null."""
    random_explanations: Path | None = None
    """Explanations of those, made in the same way as the others."""
    model: str = "smollm2"
    """The model that the features belong to, for surprisal and embedding."""
    n_features: int = 0
    """Explained features that are scored, the first ones; 0 takes all."""
    answers: Path | None = None
    """File that keeps every answer; None is a file for each judge in the cache."""
    settings: JudgeSettings = field(default_factory=JudgeSettings)
    """What is measured."""
    who: Who = field(default_factory=lambda: JUDGE)
    """Who judges."""

    def __post_init__(self) -> None:
        if (self.random_features is None) != (self.random_explanations is None):
            raise ConfigError("random_features and random_explanations come together: an index, and what explains it")


def run(config: JudgeExplanations) -> None:
    """Score, and print every figure beside its nulls and the judge's calibration."""
    scorers = config.settings.scorers
    texts = explained(config.explanations, config.features, config.settings.passages, n_features=config.n_features)
    random, parents = None, {read_manifest(config.explanations).kind: config.explanations}
    if config.random_features is not None and config.random_explanations is not None:
        found = explained(
            config.random_explanations, config.random_features, config.settings.passages, n_features=config.n_features
        )
        random = RandomFeatures(FeatureIndex(config.random_features), found)
        parents["random-explanations"] = config.random_explanations
    scores = judge_explanations(
        FeatureIndex(config.features),
        texts,
        answerer(config.who, seed=config.settings.passages.seed) if set(scorers) - set(WITHOUT_JUDGE) else None,
        out=config.out,
        model=load_model(config.model) if set(scorers) & set(WITHOUT_JUDGE) else None,
        random=random,
        settings=config.settings,
        parents=parents,
        answers=config.answers,
    )
    if config.json:
        show_scores(scores, as_json=True)
    else:
        say((config.out / TABLE).read_text(), as_json=False)
    result({"scores": str(config.out)}, as_json=config.json)
