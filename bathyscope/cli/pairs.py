"""`bathyscope pairs`: pairs of texts to pairs of activations, and what is wrong with them."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.pairs.collect import PairSettings, collect_pairs
from bathyscope.activations.pairs.counterfactuals import read_counterfactuals
from bathyscope.activations.pairs.lines import read_pairs
from bathyscope.activations.pairs.pair import PairSet
from bathyscope.activations.pairs.sets import SETS, TemplatePairs, pair_set
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result, say
from bathyscope.errors import ConfigError
from bathyscope.models.load import load_model

SHOWN = 3
"""Pairs that are printed, so that a person sees what was read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs(Command):
    """Which pairs, and where the model is read. Give one of `--set`, `--jsonl` and `--template`, or `--list`."""

    out: Path | None = None
    """Folder to write (kind `pairs`)."""
    set: str | None = None
    """A named set, such as binary; `--list` shows all."""
    jsonl: Path | None = None
    """A file of JSON lines with the columns before and after (optional: prefix, changed, unchanged, group, …), or a
    folder of kind `counterfactuals`."""
    template: Path | None = None
    """A template with named factors, as a TOML file."""
    n: int | None = None
    """Pairs to draw; None takes a named set's usual number, and all of a template's. A file is taken whole."""
    seed: int = 0
    """Seed of the draw."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    hookpoint: tuple[str, ...] = ("layers.15",)
    """Modules to read, as names or globs such as `layers.*`."""
    list: bool = False
    """Print the named sets and stop."""
    settings: PairSettings = field(default_factory=PairSettings)
    """What of a text is read, and how texts become tokens."""


def run(config: Pairs) -> None:
    """Collect, and print some pairs, the warnings and what is in the folder."""
    if config.list:
        result({name: f"{entry.about} ({entry.n:,} pairs)" for name, entry in SETS.items()}, as_json=config.json)
        return
    if config.out is None:
        raise ConfigError("no folder is given; name one to write with --out")
    pairs = _pairs(config)
    for pair in pairs.pairs[:SHOWN]:
        before, after = (" ".join(side.split()) for side in pair.sides)
        say(f"{before} | {after}", as_json=config.json)
    store = collect_pairs(
        load_model(config.model),
        pairs,
        out=config.out,
        hookpoint=list(config.hookpoint),
        settings=config.settings,
        parents={} if config.jsonl is None or config.jsonl.is_file() else {"counterfactuals": config.jsonl},
    )
    for line in store.warnings:
        say(f"warning: {line}", as_json=config.json)
    figures = {"pairs": str(store.path), "set": store.name, "n pairs": store.n_pairs, "factors": _names(store.factors)}
    figures |= {"hookpoints": ", ".join(store.hookpoints), "digest": store.manifest.digest}
    result({**figures, **({"warnings": store.warnings} if config.json else {})}, as_json=config.json)


def _pairs(config: Pairs) -> PairSet:
    """The pairs that the options name."""
    given = {"--set": config.set, "--jsonl": config.jsonl, "--template": config.template}
    named = [option for option, value in given.items() if value is not None]
    if len(named) != 1:
        raise ConfigError(
            f"{' and '.join(named) or 'no pairs'} given; name one of {', '.join(given)} (--list: the sets)"
        )
    if config.jsonl is not None:
        if config.n is not None:
            raise ConfigError("--n draws from a set or a template; a file of pairs is taken whole, leave out --n")
        return read_counterfactuals(config.jsonl).pairs if config.jsonl.is_dir() else read_pairs(config.jsonl)
    if config.template is not None:
        return TemplatePairs(template=str(config.template)).draw(n=config.n, seed=config.seed)
    return pair_set(str(config.set), n=config.n, seed=config.seed)


def _names(factors: tuple[str, ...]) -> str:
    more = f", … ({len(factors)})" if len(factors) > 8 else ""
    return ", ".join(factors[:8]) + more or "none named"
