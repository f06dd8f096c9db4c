"""A group of processes of one command on this machine: each told its place, all stopped when one fails.

The first process has the terminal; what the others say is kept, and shown of the one that failed. Knows nothing of what
the command does.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bathyscope.launch.rounds import INTERRUPTED, Ended, ended, environment

LOOK_SECONDS = 0.1
"""Time between two looks at the processes."""
SETTLE_SECONDS = 2.0
"""Time in which the others may end too once one has: the exit code that says most decides what happens."""
STOP_SECONDS = 10.0
"""Time that processes get to end by themselves, before they are killed."""
SHOWN_LINES = 15
"""Last lines shown of what a failed process said."""


def on_this_machine(words: Sequence[str], nproc: int) -> Ended:
    """What comes of `nproc` processes with these words. Ctrl-C reaches each of them."""
    with tempfile.TemporaryDirectory(prefix="bathyscope-") as folder:
        return _Group(words, nproc, Path(folder)).to_the_end()


class _Group:
    """The processes, from their start on."""

    def __init__(self, words: Sequence[str], nproc: int, folder: Path) -> None:
        self._folder, self._processes = folder, list[subprocess.Popen[Any]]()
        port = free_port()
        for rank in range(nproc):
            own = {**_defaults(nproc), **os.environ, **environment(rank, nproc, "127.0.0.1", port, local_rank=rank)}
            with contextlib.ExitStack() as files:
                outlets = {} if rank == 0 else self._kept(rank, files)
                process = subprocess.Popen(words, env=own, start_new_session=True, **outlets)
            self._processes.append(process)

    def to_the_end(self) -> Ended:
        """Wait until all have ended, or one has failed; then stop the others."""
        try:
            with _interruptible():
                while None in self._codes() and not any(self._codes()):
                    time.sleep(LOOK_SECONDS)
                self._wait(SETTLE_SECONDS)
        except KeyboardInterrupt:
            self._stop(signal.SIGINT)
            return Ended(INTERRUPTED)
        codes = self._codes()
        self._stop(signal.SIGTERM)
        found = ended(codes)
        return found._replace(last_words=self._last_words(found.rank))

    def _codes(self) -> list[int | None]:
        return [process.poll() for process in self._processes]

    def _kept(self, rank: int, files: contextlib.ExitStack) -> dict[str, Any]:
        said = files.enter_context((self._folder / f"{rank}.txt").open("wb"))
        return {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": said}

    def _last_words(self, rank: int) -> tuple[str, ...]:
        file = self._folder / f"{rank}.txt"
        return tuple(file.read_text(errors="replace").splitlines()[-SHOWN_LINES:]) if file.exists() else ()

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


def _defaults(nproc: int) -> dict[str, str]:
    """What holds unless the environment says otherwise: cores shared out, and no way but inside this machine."""
    threads = max(1, (os.cpu_count() or 1) // nproc)
    return {"OMP_NUM_THREADS": str(threads), "GLOO_SOCKET_IFNAME": "lo0" if sys.platform == "darwin" else "lo"}


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("", 0))
        return found.getsockname()[1]


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
