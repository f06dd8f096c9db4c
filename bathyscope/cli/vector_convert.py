"""`bathyscope vector-convert`: a steering vector of another tool into ours, or ours into another's."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.errors import ConfigError
from bathyscope.vectors.exchange import export_vector, load_vector
from bathyscope.vectors.vector import Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorConvert(Command):
    """Which vector to read, and what to write."""

    vector: Path
    """Folder of kind `vector`, or a .gguf, .safetensors or .pt file."""
    out: Path
    """Folder or file to write."""
    format: Literal["folder", "safetensors", "gguf", "lm-eval"] = "folder"
    """What to write."""
    strength: float | None = None
    """How many units to write, for gguf and lm-eval, which hold the vector as it is added."""
    unit: Unit = "norm"
    """What the strength is a multiple of; imported vectors have their own length alone."""
    blocks: str = "layers"
    """Path of the model's list of blocks, such as h for GPT-2: some GGUF files only number them."""


def run(config: VectorConvert) -> None:
    """Read, say what was found, write."""
    vector = load_vector(config.vector, blocks=config.blocks)
    found = {hookpoint: f"{len(d)} wide, length {float(d.norm()):.4g}" for hookpoint, d in vector.directions.items()}
    result(found, as_json=config.json)
    if config.format == "folder":
        if config.strength is not None:
            raise ConfigError("a folder keeps units and takes no strength; give it when steering")
        vector.save(config.out)
    else:
        export_vector(vector, config.out, format=config.format, strength=config.strength, of=config.unit)
    result({"written": str(config.out), "format": config.format}, as_json=config.json)
