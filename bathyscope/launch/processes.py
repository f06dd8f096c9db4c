"""Starting a group of processes of one command on this machine, and starting it anew when one of them dies.

The first process has the terminal; what the others say is kept and shown of the one that failed. A stage goes on from
its last checkpoint, so nothing but the work since then is lost. Knows nothing of what the command does.
"""

import contextlib
import logging
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

BAD_INPUT, INTERRUPTED = 2, 130
"""Exit codes after which starting again would be of no use or is not wanted."""
LOOK_SECONDS = 0.1
"""Time between two looks at the processes."""
SETTLE_SECONDS = 2.0
"""Time in which the others may end too once one has: the exit code that says most decides what happens."""
STOP_SECONDS = 10.0
"""Time that processes get to end by themselves, before they are killed."""
SHOWN_LINES = 15
"""Last lines shown of what a failed process said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupSettings:
    """How many processes, and how often they are started anew."""

    nproc: int = 2
    """Processes to start; processor cores are shared evenly among them."""
    restarts: int = 3
    """How often the whole group is started anew, from the last checkpoint, when one of them dies."""

    def __post_init__(self) -> None:
        if self.nproc < 1:
            raise ConfigError(f"nproc is {self.nproc}, expected at least 1")
        if self.restarts < 0:
            raise ConfigError(f"restarts is {self.restarts}, expected 0 or more")


def run_group(
    command: Sequence[str], settings: GroupSettings, *, program: Sequence[str] = (sys.executable, "-m", "bathyscope")
) -> int:
    """The exit code of `program` with these words, run by `settings.nproc` processes together.

    0 when all ended well; 2 or 130 as soon as one ends so; else that of the process that failed once too often.
    """
    for left in range(settings.restarts, -1, -1):
        with tempfile.TemporaryDirectory(prefix="bathyscope-") as folder:
            group = _Group([*program, *command], settings.nproc, Path(folder))
            code = group.to_the_end()
            if code in (0, BAD_INPUT, INTERRUPTED):
                return code
            what = f"process {group.failed} of {settings.nproc} {_ended(code)}"
            if left == 0:
                log.error("%s and is not started again%s", what, group.last_words())
                return 1
            log.warning("%s: starting all again from the last checkpoint; %d restarts are left", what, left - 1)
            log.debug("what it said:%s", group.last_words())
    raise AssertionError("the last round returns")


class _Group:
    """The processes of one round."""

    def __init__(self, words: Sequence[str], nproc: int, folder: Path) -> None:
        self._folder, self.failed, port = folder, 0, _free_port()
        self._processes = list[subprocess.Popen[bytes]]()
        for rank in range(nproc):
            with contextlib.ExitStack() as files:
                quiet = {} if rank == 0 else self._kept(rank, files)
                environment = {**os.environ, **_place(rank, nproc, port)}
                self._processes.append(subprocess.Popen(words, env=environment, start_new_session=True, **quiet))

    def to_the_end(self) -> int:
        """Wait until all have ended, or one has failed and the others were stopped; the code that says most."""
        try:
            with _interruptible():
                while None in self._codes() and not any(self._codes()):
                    time.sleep(LOOK_SECONDS)
                self._wait(SETTLE_SECONDS)
        except KeyboardInterrupt:
            self._stop(signal.SIGINT)
            return INTERRUPTED
        first = self._codes()
        self._stop(signal.SIGTERM)
        for code in (BAD_INPUT, INTERRUPTED):
            if code in first:
                return code
        # a signal is the cause, an error of its neighbours the consequence
        failed = sorted((code, rank) for rank, code in enumerate(first) if code)
        self.failed = failed[0][1] if failed else 0
        return failed[0][0] if failed else 0

    def last_words(self) -> str:
        """The last lines that the failed process said, each on a line of its own; the first one's were seen."""
        file = self._folder / f"{self.failed}.txt"
        lines = file.read_text(errors="replace").splitlines()[-SHOWN_LINES:] if file.exists() else []
        return "".join(f"\n  {line}" for line in lines)

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self._processes]

    def _kept(self, rank: int, files: contextlib.ExitStack) -> dict[str, object]:
        said = files.enter_context((self._folder / f"{rank}.txt").open("wb"))
        return {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while time.monotonic() < until and None in self._codes():
            time.sleep(LOOK_SECONDS)

    def _stop(self, number: int) -> None:
        """Ask those that still run to end, then make them."""
        for process in self._processes:
            if process.poll() is None:
                process.send_signal(number)
        self._wait(STOP_SECONDS)
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()


def _place(rank: int, nproc: int, port: int) -> dict[str, str]:
    """The environment by which a process finds the others; what torchrun sets too."""
    threads = max(1, (os.cpu_count() or 1) // nproc)
    found = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": nproc, "LOCAL_WORLD_SIZE": nproc, "MASTER_PORT": port}
    own = {} if "OMP_NUM_THREADS" in os.environ else {"OMP_NUM_THREADS": str(threads)}
    return {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in found.items()}, **own}


def _free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _ended(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """Ctrl-C raises even where a job in the background was told to ignore it."""
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
