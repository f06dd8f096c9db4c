"""`bathyscope counterfactuals`: a language model rewrites texts, one factor at a time."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope.activations.pairs.counterfactuals import Ask, CounterfactualSettings, write_counterfactuals
from bathyscope.activations.pairs.endpoint import EndpointWriter
from bathyscope.activations.pairs.writer import LocalWriter, Writer
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalSettings:
    """A model on this machine."""

    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    max_new_tokens: int = 96
    """Longest answer."""
    temperature: float = 0.0
    """0 takes the likeliest token; above, tokens are drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointSettings:
    """A model behind an OpenAI-compatible address."""

    url: str
    """Address up to the version, such as `http://localhost:8000/v1`."""
    name: str
    """Model name that the endpoint knows."""
    key_variable: str = ""
    """Environment variable that holds the key; empty sends none."""
    max_new_tokens: int = 256
    """Longest answer, in the endpoint's tokens."""
    temperature: float = 0.0
    """Temperature that is asked for."""
    timeout_seconds: float = 60.0
    """Longest wait for the endpoint."""


Who = (
    Annotated[LocalSettings, tyro.conf.subcommand("local", default=LocalSettings())]
    | Annotated[EndpointSettings, tyro.conf.subcommand("endpoint")]
)
"""Who rewrites."""


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
    written = write_counterfactuals(list(config.text), asks, _writer(config), out=config.out, settings=config.settings)
    counts = {f"answers {kind}": count for kind, count in written.counts.items()}
    figures = {"counterfactuals": str(written.path), "pairs": str(written.path / "pairs.jsonl")}
    result({**figures, "n pairs": written.pairs.n_pairs, **counts}, as_json=config.json)


def _ask(words: str) -> Ask:
    factor, mark, instruction = words.partition("=")
    if not mark:
        raise ConfigError(f"--ask {words!r} names no factor; write it as factor=instruction")
    return Ask(factor=factor.strip(), instruction=instruction.strip())


def _writer(config: Counterfactuals) -> Writer:
    match config.who:
        case LocalSettings(model=name, max_new_tokens=limit, temperature=temperature):
            model, seed = load_model(name), config.settings.seed
            return LocalWriter(model=model, max_new_tokens=limit, temperature=temperature, seed=seed)
        case EndpointSettings() as place:
            return EndpointWriter(
                url=place.url,
                name=place.name,
                key_variable=place.key_variable,
                max_new_tokens=place.max_new_tokens,
                temperature=place.temperature,
                timeout_seconds=place.timeout_seconds,
            )
