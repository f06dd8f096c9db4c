"""Independent runs in processes of their own, one thread each: small models gain nothing from more threads.

Knows nothing of what runs. Progress of all runs is told to the caller's listener as one sum.
"""

import multiprocessing
import os
import queue
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from typing import Any, TypeVar

from bathyscope import progress

A = TypeVar("A")
R = TypeVar("R")

POLL_SECONDS = 0.5
"""How often progress is gathered."""


def side_by_side(
    function: Callable[[A], R], arguments: Sequence[A], *, stage: str, n_workers: int | None = None
) -> Iterator[tuple[A, R]]:
    """Each argument with its result, in the order of completion; `function` must be importable by name.

    At most `n_workers` at once (None: two per CPU core, so that no core idles while the last runs end). An error in
    one run is raised here, and an interruption ends all of them.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    stopped = context.Event()
    n = min(len(arguments), n_workers or 2 * (os.cpu_count() or 1))
    pool = ProcessPoolExecutor(max(1, n), mp_context=context, initializer=_begin, initargs=(told, stopped))
    try:
        waiting: dict[Future[R], int] = {pool.submit(_run, function, a, i): i for i, a in enumerate(arguments)}
        seen: dict[int, float] = {}
        while waiting:
            done, _ = wait(waiting, timeout=POLL_SECONDS, return_when=FIRST_COMPLETED)
            ended = [waiting[future] for future in done]
            _tell(told, seen, ended, stage, len(arguments))
            for future in done:
                yield arguments[waiting.pop(future)], future.result()
    finally:
        stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


_told: Any = None
"""The worker's way back to the caller."""
_stopped: Any = None
"""Set when the caller wants no more."""


def _begin(told: Any, stopped: Any) -> None:
    """In a worker: one thread, a queue for progress, and interruptions left to the caller."""
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    global _told, _stopped
    _told, _stopped = told, stopped
    torch.set_num_threads(1)


def _run(function: Callable[[A], R], argument: A, number: int) -> R:
    """In a worker: the run."""
    with progress.listening(_Teller(number)):
        return function(argument)


class _Teller:
    """A progress sink that sends what it hears to the caller's process, at most as often as it is gathered.

    It ends the process when the caller was interrupted, or killed: nobody would read the result.
    """

    def __init__(self, number: int) -> None:
        self._number, self._told_at = number, 0.0

    def __call__(self, step: progress.Step) -> None:
        if step.done == step.total or time.monotonic() - self._told_at >= POLL_SECONDS:
            self._told_at = time.monotonic()
            caller = multiprocessing.parent_process()
            if _stopped.is_set() or (caller is not None and not caller.is_alive()):
                os._exit(1)
            _told.put((self._number, step.done, step.total))


def _tell(told: Any, seen: dict[int, float], ended: Sequence[int], stage: str, n_runs: int) -> None:
    """Report what was told since the last time; a run that ended is whole, even where its last word is on its way."""
    is_new = bool(ended)
    seen |= dict.fromkeys(ended, 1.0)
    while True:
        try:
            number, done, total = told.get_nowait()
        except queue.Empty:
            break
        share = done / total if total else 0.0
        seen[number], is_new = max(share, seen.get(number, 0.0)), True  # a later stage of a run begins at 0 again
    if is_new:
        share = sum(seen.values())
        progress.report(stage, round(100 * share), 100 * n_runs, "% of a run")
