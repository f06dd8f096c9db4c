"""`bathyscope models`: where a model's activations can be read."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.models import hookpoints
from bathyscope.models.load import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Models(Command):
    """Which model to look at."""

    model: Annotated[str, tyro.conf.Positional] = "smollm2"
    """Bundled name, local folder, .gguf file or Hub id."""
    pattern: Annotated[str, tyro.conf.Positional] = "layers.*"
    """Glob over hookpoint names, for example `layers.*.mlp`."""


def run(config: Models) -> None:
    """Print each matching hookpoint with the width of its output."""
    model = load_model(config.model)
    for name in hookpoints.resolve(model, config.pattern):
        width = hookpoints.width(model, name)
        result({"hookpoint": name, "width": width} if config.json else {name: width}, as_json=config.json)
