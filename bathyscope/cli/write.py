"""`bathyscope write`: a language model describes features in a few words."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.cli.who import JUDGE, Who, answerer
from bathyscope.explanations.explain import Explanations
from bathyscope.explanations.written import OUTCOMES, WriteSettings, write_explanations
from bathyscope.features.index import FeatureIndex


@dataclass(frozen=True, slots=True, kw_only=True)
class Write(Command):
    """Which features are described, and by whom."""

    features: Path
    """Folder of kind `features`."""
    out: Path
    """Folder to write (kind `written`), which `bathyscope judge` takes."""
    explanations: Path | None = None
    """Folder of kind `explanations`: words to write from (`--source words`) and to verify descriptions with."""
    answers: Path | None = None
    """File that keeps every answer; None is a file for each writer in the cache."""
    settings: WriteSettings = field(default_factory=WriteSettings)
    """Which features, and what the writer sees."""
    who: Who = field(default_factory=lambda: JUDGE)
    """Who writes."""


def run(config: Write) -> None:
    """Write, and print how many features are described and what it took."""
    written = write_explanations(
        FeatureIndex(config.features),
        answerer(config.who, seed=config.settings.passages.seed),
        out=config.out,
        words=None if config.explanations is None else Explanations(config.explanations),
        settings=config.settings,
        answers=config.answers,
    )
    figures = {"written": str(config.out), **{kind: written.counts[kind] for kind in OUTCOMES}}
    if written.explained_rate is not None:
        figures["verified as explained"] = written.explained_rate
    result(figures, as_json=config.json)
    if not config.json:
        result({f"feature {feature}": text for feature, text in written.texts.items()}, as_json=False)
