"""Write `docs/commands.md`: the help text of every command, as the command line prints it.

.venv/bin/python docs/generate.py
"""

import contextlib
import io
import os
import typing
from pathlib import Path

from bathyscope.cli import bench, main, search, train, vector
from bathyscope.cli.command import COMMANDS
from bathyscope.cli.who import Who

TERMINAL = {"COLUMNS": "110", "NO_COLOR": "1", "TERM": "dumb"}
"""The terminal that help texts are written for, whatever the real one is."""

WHO = typing.get_args(Who)
SUBCOMMANDS = {
    "train": tuple(typing.get_args(kind)[1].name for kind in typing.get_args(train.Kind)),
    "vector": tuple(typing.get_args(method)[1].name for method in typing.get_args(vector.Method)),
    **dict.fromkeys(("counterfactuals", "write", "judge"), tuple(typing.get_args(one)[1].name for one in WHO)),
    "search": tuple(typing.get_args(by)[1].name for by in typing.get_args(search.By)),
    "bench": tuple(typing.get_args(what)[1].name for what in typing.get_args(bench.What)),
}
"""Subcommands of commands, with help texts of their own."""

HEAD = """# Commands

`bathyscope COMMAND …` writes an artifact folder, shows how far it is, and can be interrupted and called again.

| exit code | meaning |
|---|---|
| 0 | done |
| 2 | bad use or bad input: one line says what was given, what was expected and what to do |
| 130 | interrupted by Ctrl-C or SIGTERM; the same command goes on |
| 1 | a bug, with its traceback |

With `--json` every progress step and every result is one JSON object a line on standard output.

This file is written by `docs/generate.py`; a test compares it with what the commands say.
"""


def commands() -> str:
    """The text of `docs/commands.md`."""
    os.environ.update(TERMINAL)
    sections = [HEAD, _help([])]
    for name in COMMANDS:
        sections += [f"## {name}\n", _help([name])]
        sections += [_help([name, subcommand]) for subcommand in SUBCOMMANDS.get(name, ())]
    return "\n".join(sections)


def _help(words: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main([*words, "--help"])
    lines = [line.rstrip() for line in said.getvalue().strip().splitlines()]
    return "\n".join(["```", " ".join(["$ bathyscope", *words, "--help"]), *lines, "```", ""])


if __name__ == "__main__":
    Path(__file__).with_name("commands.md").write_text(commands())
