"""Pairs as JSON lines: one object a line, read with every fault named by its line, and written back.

Columns: `before`, `after` (texts); optional `prefix`, `changed` and `unchanged` (lists of factors), `support` (factor
to true or false), `values_before`, `values_after` (factor to value), `group`, `source`. `changed` alone means that all
other factors of the file did not change; with `unchanged` beside it, what neither names is unknown; without both, all.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from bathyscope.activations.pairs.pair import Pair, PairSet, full_support, pair_fault
from bathyscope.errors import ConfigError
from bathyscope.files import sha256
from bathyscope.runtime import disk_errors

log = logging.getLogger(__name__)

SIDES = ("before", "after")
TEXTS = (*SIDES, "prefix", "group", "source")
LISTS = ("changed", "unchanged")
OBJECTS = ("support", "values_before", "values_after")
SHOWN = 8
"""Faulty lines that a message numbers."""


def read_pairs(path: str | Path, *, factors: Sequence[str] | None = None, ignore: Sequence[str] = ()) -> PairSet:
    """The pairs of a JSONL file. Factors are those that its lines name, in order of appearance, unless given.

    Raises ConfigError that names file and line for a line that is not JSON, lacks a side, has two equal sides, or
    contradicts itself; the other faulty lines are counted and numbered. Blank lines are skipped. Columns that are not
    known are named in one log line, those in `ignore` are not.
    """
    path = Path(path)
    if not path.is_file():
        raise ConfigError(f"no file of pairs at {path}; expected JSON lines with the columns before and after")
    with disk_errors(path, doing="read"):
        data = path.read_bytes()
    rows, faults = _rows(path.name, data)
    named = tuple(factors) if factors is not None else _factors(rows)
    pairs: list[Pair] = []
    for number, row in rows.items():
        pair = _pair(row, named, where=f"{path.name}, line {number}")
        problem = pair_fault(pair, named)
        if problem:
            faults[number] = problem
        pairs.append(pair)
    _refuse(path, faults)
    ignored = sorted({column for row in rows.values() for column in row} - {*TEXTS, *LISTS, *OBJECTS, *ignore})
    if ignored:
        log.warning("%s: columns that mean nothing here are ignored: %s", path.name, ", ".join(ignored))
    if not pairs:
        raise ConfigError(f"{path} holds no pairs: every line is blank")
    sums = {"version": "", "sha256": sha256(path), "licence": "not stated", "origin": "local files"}
    return PairSet(name=path.stem, factors=named, pairs=tuple(pairs), materials=({"name": path.name, **sums},))


def pair_row(pair: Pair) -> dict[str, Any]:
    """A pair as JSON data that `read_pairs` takes back; empty columns but `source` are left out."""
    row: dict[str, Any] = {name: getattr(pair, name) for name in TEXTS}
    row |= {name: dict(getattr(pair, name)) for name in OBJECTS}
    return {name: value for name, value in row.items() if value or name == "source"}


def pair_lines(pairs: PairSet, extra: Sequence[Mapping[str, Any]] | None = None) -> bytes:
    """A pair set as JSON lines; `extra` adds columns to each row."""
    rows = [pair_row(pair) for pair in pairs.pairs]
    if extra is not None:
        rows = [{**row, **more} for row, more in zip(rows, extra, strict=True)]
    return "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows).encode()


def _rows(name: str, data: bytes) -> tuple[dict[int, dict[str, Any]], dict[int, str]]:
    """Line number → object, and line number → what is wrong with it."""
    rows: dict[int, dict[str, Any]] = {}
    faults: dict[int, str] = {}
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            faults[number] = f"not JSON ({error})"
            continue
        problem = _row_fault(row)
        if problem:
            faults[number] = problem
        else:
            rows[number] = row
    if not rows and not faults:
        raise ConfigError(f"{name} holds no pairs; expected JSON lines with the columns before and after")
    return rows, faults


def _row_fault(row: object) -> str:
    """Why a line is no row of pairs, or nothing."""
    if not isinstance(row, dict):
        return f"expected an object with the columns before and after, found {type(row).__name__}"
    fields = cast(dict[str, object], row)
    missing = [side for side in SIDES if side not in fields]
    if missing:
        return f"unpaired: it has no side {' and no side '.join(map(repr, missing))}"
    for column in TEXTS:
        if not isinstance(fields.get(column, ""), str):
            return f"{column!r} is {type(fields[column]).__name__}, expected text"
    for column in LISTS:
        if not _is_list_of_text(fields.get(column, [])):
            return f"{column!r} is {fields[column]!r}, expected a list of factors"
    for column in OBJECTS:
        kind = bool if column == "support" else str
        if not _is_object_of(kind, fields.get(column, {})):
            return (
                f"{column!r} is {fields[column]!r}, expected an object of {'true/false' if kind is bool else 'texts'}"
            )
    both = sorted(set(cast(list[str], fields.get("changed", []))) & set(cast(list[str], fields.get("unchanged", []))))
    return f"{both[0]!r} is listed as changed and as unchanged" if both else ""


def _factors(rows: Mapping[int, Mapping[str, Any]]) -> tuple[str, ...]:
    """Every factor that a line names, once, in order of appearance."""
    found: dict[str, None] = {}
    for row in rows.values():
        for column in (*LISTS, *OBJECTS):
            found |= dict.fromkeys(row.get(column, ()))
    return tuple(found)


def _pair(row: Mapping[str, Any], factors: Sequence[str], *, where: str) -> Pair:
    before, after = dict(row.get("values_before", {})), dict(row.get("values_after", {}))
    support = {factor: before[factor] != after[factor] for factor in before if factor in after}
    if "changed" in row and "unchanged" not in row:
        support |= full_support(factors, row["changed"]) | dict.fromkeys(row["changed"], True)
    else:
        support |= dict.fromkeys(row.get("changed", ()), True) | dict.fromkeys(row.get("unchanged", ()), False)
    return Pair(
        before=row["before"],
        after=row["after"],
        prefix=row.get("prefix", ""),
        support={**support, **row.get("support", {})},
        values_before=before,
        values_after=after,
        group=row.get("group", ""),
        source=row.get("source", where),
    )


def _refuse(path: Path, faults: Mapping[int, str]) -> None:
    if not faults:
        return
    numbers = sorted(faults)
    others = ", ".join(map(str, numbers[1 : SHOWN + 1])) + (", …" if len(numbers) > SHOWN + 1 else "")
    more = f"; {len(numbers) - 1} more lines have faults ({others})" if len(numbers) > 1 else ""
    raise ConfigError(f"{path}, line {numbers[0]}: {faults[numbers[0]]}{more}")


def _is_list_of_text(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in cast(list[object], value))


def _is_object_of(kind: type, value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(item, kind) for item in cast(dict[str, object], value).values())
