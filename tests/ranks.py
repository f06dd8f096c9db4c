"""Several processes of one test, forked from it, in a gloo group: no import is paid for twice."""

import faulthandler
import multiprocessing
import os
import socket
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

SECONDS = 300.0
"""Longest time that ranks may take."""


def run_ranks(n_ranks: int, work: Callable[[], None], folder: Path) -> list[int]:
    """Exit codes of `n_ranks` processes that each did `work`; what they raised is in `folder/rank-*.txt`."""
    fork, port = multiprocessing.get_context("fork"), free_port()
    processes = [fork.Process(target=_work, args=(rank, n_ranks, port, work, folder)) for rank in range(n_ranks)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(SECONDS)
        if process.is_alive():
            process.kill()
            process.join()
    return [process.exitcode if process.exitcode is not None else -1 for process in processes]


def said(folder: Path) -> str:
    """What the ranks raised."""
    return "\n".join(file.read_text() for file in sorted(folder.glob("rank-*.txt")))


def free_port() -> int:
    """A port of this machine that nobody listens on."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _work(rank: int, n_ranks: int, port: int, work: Callable[[], None], folder: Path) -> None:
    torch.set_num_threads(1)
    stacks = (folder / f"rank-{rank}-stacks.txt").open("w")
    faulthandler.dump_traceback_later(SECONDS - 5, file=stacks)
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(n_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ends_well = False
    try:
        work()
        ends_well = True
    finally:
        if not ends_well:
            (folder / f"rank-{rank}.txt").write_text(traceback.format_exc())
        os._exit(0 if ends_well else 1)
