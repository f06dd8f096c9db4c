"""Write `docs/commands.md`: the help text of every command, as the command line prints it.

    .venv/bin/python docs/generate.py
"""

import contextlib
import io
import os
from pathlib import Path

from bathyscope.cli import main
from bathyscope.cli.command import COMMANDS

COLUMNS = 110
"""Width of the help texts, whatever terminal they are written on."""

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
    sections = [HEAD, _section("bathyscope --help", ["--help"])]
    for name, entry in COMMANDS.items():
        first = ["topk"] if name == "train" else []
        sections.append(f"## {name}\n\n{entry.help}\n")
        sections.append(_section(f"bathyscope {name} --help", [name, "--help"]))
        if first:
            sections += [_section(f"bathyscope {name} … {kind} --help", [name, *REQUIRED, kind, "--help"]) for kind in KINDS]
    return "\n".join(sections)


KINDS = ("topk", "relu")
REQUIRED = ("--activations", "A", "--out", "B")


def _section(title: str, arguments: list[str]) -> str:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        main(arguments)
    lines = [line.rstrip() for line in said.getvalue().strip().splitlines()]
    return "\n".join(["```", f"$ {title}", *lines, "```", ""])


if __name__ == "__main__":
    os.environ.update({"COLUMNS": str(COLUMNS), "NO_COLOR": "1", "TERM": "dumb"})
    Path(__file__).with_name("commands.md").write_text(commands())
