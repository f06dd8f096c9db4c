"""`bathyscope counterfactuals`: a language model rewrites texts, one factor at a time."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.pairs.counterfactuals import Ask, CounterfactualSettings, write_counterfactuals
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.cli.who import LocalSettings, Who, answerer
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Counterfactuals(Command):
    """Which texts are rewritten, how, and by whom."""

    out: Path
    """Folder to write (kind `counterfactuals`), which `bathyscope pairs --jsonl` takes."""
    text: tuple[str, ...]
    """Texts: files, folders, `x.jsonl:column`, `x.parquet:column`, `material:NAME`, `hub:ID`."""
    ask: tuple[str, ...]
    """Changes, each as `factor=instruction`, such as `tense=Put it into the past tense.`"""
    settings: CounterfactualSettings = field(default_factory=CounterfactualSettings)
    """Which texts, and how the writer is asked."""
    who: Who = field(default_factory=LocalSettings)
    """Who rewrites."""


def run(config: Counterfactuals) -> None:
    """Ask, and print how many answers were of which class."""
    asks = [_ask(words) for words in config.ask]
    written = write_counterfactuals(
        list(config.text),
        asks,
        answerer(config.who, seed=config.settings.seed),
        out=config.out,
        settings=config.settings,
    )
    counts = {f"answers {kind}": count for kind, count in written.counts.items()}
    figures = {"counterfactuals": str(written.path), "pairs": str(written.path / "pairs.jsonl")}
    result({**figures, "n pairs": written.pairs.n_pairs, **counts}, as_json=config.json)


def _ask(words: str) -> Ask:
    factor, mark, instruction = words.partition("=")
    if not mark:
        raise ConfigError(f"--ask {words!r} names no factor; write it as factor=instruction")
    return Ask(factor=factor.strip(), instruction=instruction.strip())
