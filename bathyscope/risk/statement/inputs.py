"""The `[inputs]` table of a statement."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model
from bathyscope.risk.inputs.law import Law
from bathyscope.risk.inputs.pool import prompt_pool
from bathyscope.risk.inputs.recipes.code import camel_law, colon_law, if_law
from bathyscope.risk.inputs.recipes.hexadecimal import hex_law
from bathyscope.risk.inputs.recipes.positions import count_tokens
from bathyscope.risk.inputs.slots import Slots
from bathyscope.risk.statement.table import Table

KINDS = ("slots", "pool", "hex", "camel", "colon", "if")


def read_inputs(table: Table, model: Model, *, beside: Path) -> Law:
    """The law that a table states; paths are relative to `beside`. Raises ConfigError for what it cannot read."""
    kind = table.get("kind", str)
    match kind:
        case "slots":
            law: Law = Slots(
                model=model,
                text=table.get("text", str),
                fillings=table.get("fillings", dict),
                chat=_optional(table, "chat"),
                name=table.get("name", str, "slots"),
            )
        case "pool":
            prompts = table.get("prompts", list) if table.has("prompts") else _lines(beside / table.get("file", str))
            law = prompt_pool(model, [str(prompt) for prompt in prompts], chat=_optional(table, "chat"))
        case "hex":
            law = hex_law(model.tokenizer, n_positions=table.get("positions", int, 32))
        case "camel" | "colon" | "if":
            recipe = {"camel": camel_law, "colon": colon_law, "if": if_law}[kind]
            count_V = count_tokens(_texts(beside / table.get("corpus", str)), model.tokenizer)
            law = recipe(model.tokenizer, count_V, n_positions=table.get("positions", int, 32))
        case _:
            raise ConfigError(f"{table.where}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    table.done()
    return law


def _optional(table: Table, key: str) -> Any:
    return table.get(key, bool) if table.has(key) else None


def _lines(file: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}; give one with a prompt on each line")
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]


def _texts(folder: Path) -> Iterator[str]:
    """The text files in a folder, in order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ConfigError(f"there is no text in {folder}; give a folder of text files")
    for file in files:
        yield file.read_text(encoding="utf-8", errors="replace")
