"""`bathyscope languages`: does one feature fire on the same verse in several languages?"""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.score_rows import show_scores
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.evaluation.languages import CARD, LanguageSettings, language_card
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Languages(Command):
    """Which dictionary, on which verses."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    out: Path
    """Folder to write (kind `scores`, with the card in `card.md` and every called feature in `features.jsonl`)."""
    model: str = "smollm2"
    """The model that the dictionary belongs to."""
    settings: LanguageSettings = field(default_factory=LanguageSettings)
    """Which verses are read, and what a feature is called."""


def run(config: Languages) -> None:
    """Measure and print the card."""
    rows = language_card(
        load_model(config.model),
        load_dictionary(config.dictionary),
        out=config.out,
        parents={"dictionary": config.dictionary},
        settings=config.settings,
    )
    if config.json:
        show_scores(rows, as_json=True)
    say((config.out / CARD).read_text(), as_json=config.json)
    result({"card": str(config.out / CARD)}, as_json=config.json)
