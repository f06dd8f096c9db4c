"""`bathyscope steer`: answers with features held, beside the plain answer and a random-direction control."""

from dataclasses import dataclass
from pathlib import Path

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.features.index import FeatureIndex
from bathyscope.models.load import load_model
from bathyscope.steering.answers import AnswerSettings, answers


@dataclass(frozen=True, slots=True, kw_only=True)
class Steer(Command):
    """What to ask and what to hold."""

    dictionary: Path
    """Folder of kind `dictionary`."""
    index: Path
    """Folder of kind `features` (the tokens that a feature reads are the targets of its effect)."""
    out: Path
    """Folder to write (kind `generations`)."""
    settings: AnswerSettings
    """Features, prompts and strengths."""
    model: str = "smollm2"
    """The model the dictionary belongs to."""


def run(config: Steer) -> None:
    """Answer every prompt plainly, steered and controlled, and print the answers."""
    rows = answers(
        load_model(config.model),
        load_dictionary(config.dictionary),
        FeatureIndex(config.index),
        out=config.out,
        parents={"dictionary": config.dictionary, "features": config.index},
        settings=config.settings,
    )
    for row in rows:
        head = "plain" if row.feature is None else f"{row.arm}, feature {row.feature} at {row.strength:g}×"
        effect = ", ".join(f"{name} {value:.2f}" for name, value in row.effect.items())
        say(f"\n{row.prompt}\n  [{head}; {effect}]\n  {row.text.strip()}", as_json=config.json)
    result({"generations": str(config.out), "answers": len(rows)}, as_json=config.json)
