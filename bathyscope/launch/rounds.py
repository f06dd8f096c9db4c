"""Rounds of a group of processes: all are started, and started anew from the last checkpoint when one of them dies.

Where the processes run is told by the caller: `on_this_machine`, or `on_ray`. Knows nothing of what they do.
"""

import logging
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

PROGRAM = (sys.executable, "-m", "bathyscope")
BAD_INPUT, INTERRUPTED = 2, 130
"""Exit codes after which starting again would be of no use or is not wanted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How many processes, and how often they are started anew."""

    nproc: int = 2
    """Processes to start; on one machine they share its processor cores evenly."""
    restarts: int = 3
    """How often the whole group is started anew, from the last checkpoint, when one of them dies."""

    def __post_init__(self) -> None:
        if self.nproc < 1:
            raise ConfigError(f"nproc is {self.nproc}, expected at least 1")
        if self.restarts < 0:
            raise ConfigError(f"restarts is {self.restarts}, expected 0 or more")


class Ended(NamedTuple):
    """What came of a round."""

    code: int
    """0 when all ended well, else the exit code that says most; negative for a signal."""
    rank: int = 0
    """The process that it is of."""
    last_words: tuple[str, ...] = ()
    """The last lines that this process said, if they were not seen."""


Round = Callable[[Sequence[str], int], Ended]
"""Runs `nproc` processes with some words and waits for their end."""


def run_group(
    command: Sequence[str], settings: GroupSettings, run_round: Round, *, program: Sequence[str] = PROGRAM
) -> int:
    """The exit code of `program` with these words, run by `settings.nproc` processes together.

    0 when all ended well; 2 or 130 as soon as one ends so; 1 when processes died more often than `settings.restarts`.
    """
    for left in range(settings.restarts, -1, -1):
        found = run_round([*program, *command], settings.nproc)
        if found.code in (0, BAD_INPUT, INTERRUPTED):
            if found.code == BAD_INPUT and found.rank:
                log.error("process %d of %d ended%s", found.rank, settings.nproc, _lines(found.last_words))
            return found.code
        what = f"process {found.rank} of {settings.nproc} {_cause(found.code)}"
        if left:
            log.warning("%s: starting all again from the last checkpoint; %d restarts are left", what, left - 1)
            log.debug("what it said:%s", _lines(found.last_words))
        else:
            log.error("%s and is not started again%s", what, _lines(found.last_words))
    return 1


def ended(codes: Sequence[int | None]) -> Ended:
    """The exit code that says most; None is a process that had not ended by itself.

    Bad input, then an interruption, then a signal: errors of its neighbours are the consequence.
    """
    for code in (BAD_INPUT, INTERRUPTED):
        if code in codes:
            return Ended(code, codes.index(code))
    failed = sorted((code, rank) for rank, code in enumerate(codes) if code)
    return Ended(*failed[0]) if failed else Ended(0)


def environment(rank: int, n_ranks: int, address: str, port: int, *, local_rank: int) -> dict[str, str]:
    """By what a process finds the others: the names that torchrun sets too."""
    numbers = {"RANK": rank, "LOCAL_RANK": local_rank, "WORLD_SIZE": n_ranks, "MASTER_PORT": port}
    return {"MASTER_ADDR": address, **{name: str(value) for name, value in numbers.items()}}


def _cause(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _lines(words: Sequence[str]) -> str:
    return "".join(f"\n  {line}" for line in words)
