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
                fillings=_fillings(table),
                chat=_optional(table, "chat"),
                name=table.get("name", str, "slots"),
            )
        case "pool":
            law = prompt_pool(model, _prompts(table, beside=beside), chat=_optional(table, "chat"))
        case "hex":
            law = hex_law(model.tokenizer, n_positions=_positions(table))
        case "camel" | "colon" | "if":
            recipe = {"camel": camel_law, "colon": colon_law, "if": if_law}[kind]
            count_V = count_tokens(_texts(beside / table.get("corpus", str)), model.tokenizer)
            law = recipe(model.tokenizer, count_V, n_positions=_positions(table))
        case _:
            raise ConfigError(f"{table.where}: kind is {kind!r}, expected one of {', '.join(KINDS)}")
    table.done()
    return law


def _optional(table: Table, key: str) -> Any:
    return table.get(key, bool) if table.has(key) else None


def _fillings(table: Table) -> dict[str, list[str] | dict[str, float]]:
    """Slot → its texts, or text → weight; a slot's weights are made to sum to 1."""
    fillings: dict[str, Any] = table.get("fillings", dict)
    for slot, given in fillings.items():
        where = f"{table.where}: fillings.{slot}"
        if isinstance(given, dict):
            for text, weight in given.items():
                if isinstance(weight, bool) or not isinstance(weight, int | float):
                    raise ConfigError(f"{where}: the weight of {text!r} is {weight!r}, expected a number")
            fillings[slot] = {text: float(weight) for text, weight in given.items()}
        elif not isinstance(given, list):
            raise ConfigError(f"{where} is {given!r}, expected a list of texts, or a table of texts and their weights")
        else:
            _require_texts(where, given)
    return fillings


def _prompts(table: Table, *, beside: Path) -> list[str]:
    """The prompts that stand in the table, or in a file that it names."""
    if not table.has("prompts"):
        return _lines(beside / table.get("file", str))
    prompts: list[Any] = table.get("prompts", list)
    _require_texts(f"{table.where}: prompts", prompts)
    return prompts


def _require_texts(where: str, given: list[Any]) -> None:
    strange = [text for text in given if not isinstance(text, str)]
    if strange:
        raise ConfigError(f"{where}: {strange[0]!r} is no text; put it in quotes")


def _positions(table: Table) -> int:
    """How many random positions, at least one."""
    n_positions = table.get("positions", int, 32)
    if n_positions < 1:
        raise ConfigError(f"{table.where}: positions is {n_positions}, expected at least 1")
    return n_positions


def _lines(file: Path) -> list[str]:
    """The lines of a text file that are not empty."""
    if not file.is_file():
        raise ConfigError(f"there is no file {file}; give one with a prompt on each line")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file} is no text in UTF-8: {error}; save it as such") from error
    return [line for line in text.splitlines() if line.strip()]


def _texts(folder: Path) -> Iterator[str]:
    """The text files in a folder, in order of their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ConfigError(f"there is no text in {folder}; give a folder of text files")
    for file in files:
        yield file.read_text(encoding="utf-8", errors="replace")
