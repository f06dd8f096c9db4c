"""The command line: `bathyscope COMMAND …`.

Exit codes: 0 done; 2 bad use or bad input (one line, no traceback); 130 interrupted (run again to resume); 141 whoever
read the output has gone, as in `… | head` (run again to resume); 1 a bug.
"""

import difflib
import os
import sys
from collections.abc import Sequence

from bathyscope.cli.command import COMMANDS, Entry

USAGE = "usage: bathyscope COMMAND [options]      bathyscope COMMAND --help      bathyscope --version"


EXIT_NO_READER = 141


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code. `arguments` defaults to the process's own."""
    try:
        code = _main(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # nothing more to say at exit
        return EXIT_NO_READER


def _main(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(overview())
        return 0
    if words[0] in ("--version", "-V"):
        from bathyscope import __version__

        print(f"bathyscope {__version__}")
        return 0
    entry = COMMANDS.get(words[0])
    if entry is None:
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"; did you mean {near[0]}?" if near else f"; choose from {', '.join(COMMANDS)}"
        print(f"error: no command named {words[0]!r}{hint}", file=sys.stderr)
        return 2
    return _run(words[0], entry, _stage_apart(words[1:]) if words[0] == "launch" else words[1:])


def overview() -> str:
    """The text of `bathyscope --help`."""
    width = max(map(len, COMMANDS))
    rows = [f"  {name:<{width}}  {entry.help}" for name, entry in COMMANDS.items()]
    return "\n".join(["Look under the surface of language models.", "", USAGE, "", "commands:", *rows])


def _stage_apart(words: list[str]) -> list[str]:
    """The words with a mark before the name of a stage: what follows are its own options."""
    at = next((n for n, word in enumerate(words) if word in COMMANDS), len(words))
    return [*words[:at], "--", *words[at:]] if at < len(words) and "--" not in words[:at] else words


def _run(name: str, entry: Entry, arguments: Sequence[str]) -> int:
    from bathyscope.cli.terminal import run_command

    return run_command(name, entry, arguments)
