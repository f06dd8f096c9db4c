"""`bathyscope collect`: text to activations on disk."""

from dataclasses import dataclass, field
from pathlib import Path

from bathyscope.activations.collect import CollectSettings
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.launch.group import joined
from bathyscope.launch.stages import collect_together
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect(Command):
    """What to read and where."""

    out: Path
    """Folder to write (kind `activations`)."""
    model: str = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    text: tuple[str, ...] = ("demo",)
    """Texts: files, folders, `x.jsonl:column`, `x.parquet:column`, `material:NAME`, `python:stdlib`, `hub:ID`, demo."""
    hookpoint: tuple[str, ...] = ("layers.15",)
    """Modules to read, as names or globs such as `layers.*.mlp`."""
    n_tokens: int = 200_000
    """Tokens of text to run, special tokens included."""
    settings: CollectSettings = field(default_factory=CollectSettings)
    """How text is cut and what is stored."""


def run(config: Collect) -> None:
    """Collect and print what is in the folder."""
    with joined() as mesh:
        store = collect_together(
            mesh,
            load_model(config.model),
            list(config.text),
            out=config.out,
            hookpoint=list(config.hookpoint),
            n_tokens=config.n_tokens,
            settings=config.settings,
        )
    figures = {"activations": str(store.path), "tokens": store.n_tokens, "rows": store.n_rows}
    result({**figures, "hookpoints": ", ".join(store.hookpoints), "digest": store.manifest.digest}, as_json=config.json)
