"""Where long jobs say how far they are; the command line decides how it looks.

Library code calls `report`; nothing is printed unless a caller installed a sink with `listening`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One progress event of one stage."""

    stage: str
    """Stage name such as `collect`, the same for all events of a job."""
    done: int
    """Units finished so far, resumed ones included."""
    total: int
    """Units in the whole job; 0 when unknown."""
    unit: str
    """What is counted: `tokens`, `steps`, `features`, …"""
    figures: Mapping[str, float | int | str] = field(default_factory=dict[str, float | int | str])
    """Figures worth seeing now, such as `loss`."""


Sink = Callable[[Step], None]

_sink: ContextVar[Sink | None] = ContextVar("bathyscope_progress_sink", default=None)


def report(stage: str, done: int, total: int, unit: str, **figures: float | int | str) -> None:
    """Tell the installed sink, if any, how far `stage` is."""
    sink = _sink.get()
    if sink is not None:
        sink(Step(stage=stage, done=done, total=total, unit=unit, figures=figures))


@contextmanager
def listening(sink: Sink) -> Iterator[None]:
    """Send every `report` made inside the block to `sink`."""
    token = _sink.set(sink)
    try:
        yield
    finally:
        _sink.reset(token)
