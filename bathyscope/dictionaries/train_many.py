"""Several dictionaries from one stream: every activation is read once and given to each of them.

Each ends in a folder of its own, the very one that `train` alone would write for the same settings and batches.
"""

import dataclasses
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.job import DEFAULTS, Task, TrainSettings, open_job
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.learn import learn
from bathyscope.dictionaries.source import Batches, Hookpoint, Store
from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)

_NAME = re.compile(r"[\w=+-][\w.=+-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSettings:
    """One of several dictionaries: its kind, and what it does otherwise than the run's settings say."""

    of: Kind
    """Kind of dictionary."""
    seed: int | None = None
    """Seed of the start weights; the order of batches is the run's. None takes the run's."""
    lr: float | None = None
    """Highest learning rate; None takes the run's, or the kind's own."""
    warm_up: float | None = None
    """Share of the run over which the learning rate rises; None takes the run's, or the kind's own."""
    decay: float | None = None
    """Share of the run over which the learning rate falls; None takes the run's, or the kind's own."""
    betas: tuple[float, float] | None = None
    """Adam's averaging rates; None takes the run's, or the kind's own."""
    clip_norm: float | None = None
    """Longest gradient, 0 never clips; None takes the run's, or the kind's own."""

    def within(self, settings: TrainSettings) -> TrainSettings:
        """What `train` is to be told to make this dictionary alone."""
        given = {name: getattr(self, name) for name in ("seed", "lr", "warm_up", "decay", "betas", "clip_norm")}
        own = dataclasses.replace(settings, **{name: value for name, value in given.items() if value is not None})
        order = settings.order_seed if own.seed == settings.seed else settings.seed_of_order
        return dataclasses.replace(own, order_seed=order)


def train_many(
    data: Store | Batches,
    members: Mapping[str, Kind | MemberSettings],
    *,
    out: str | Path | None = None,
    hookpoint: Hookpoint = None,
    settings: TrainSettings = DEFAULTS,
) -> dict[str, Dictionary]:
    """The dictionary of each member by name, learnt from one stream, also written to `out/<name>`.

    Folders that are finished are kept, interrupted ones gone on with; members may be added later. A member that
    diverges is stopped and named in the log, with its last checkpoint left in `out/<name>.partial`; the others go on,
    and it is left out of what is returned. Raises ConfigError when nothing is left, DeviceError when all members
    together do not fit into memory or on the disk.
    """
    for name in members:
        if not _NAME.fullmatch(name) or name.endswith(".partial"):
            raise ConfigError(f"a member is named {name!r}: a name is a folder, of letters, digits and . _ = + -")
    if not members:
        raise ConfigError("there is nothing to train: give at least one member")
    tasks = {
        name: _task(member, settings, None if out is None else Path(out) / name) for name, member in members.items()
    }
    job = open_job(data, [task.kind for task in tasks.values()], hookpoint=hookpoint, settings=settings)
    found = learn(job, tasks)
    stopped = {name: result for name, result in found.items() if isinstance(result, ConfigError)}
    for name, error in stopped.items():
        log.warning("%s: %s", name, error)
    if len(stopped) == len(found):
        name, error = next(iter(stopped.items()))
        raise ConfigError(f"every dictionary diverged; {name}: {error}")
    return {name: result for name, result in found.items() if isinstance(result, Dictionary)}


def _task(member: Kind | MemberSettings, settings: TrainSettings, out: Path | None) -> Task:
    own = member if isinstance(member, MemberSettings) else MemberSettings(of=member)
    return Task(kind=own.of, settings=own.within(settings), out=out)
