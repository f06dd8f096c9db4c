"""Training one dictionary: batches in, a dictionary folder out.

Knows neither the kinds' equations nor language models. The same settings and data on the same machine give the same
bytes, also after a kill at any moment and a second call. The loop is in `learn.py`.
"""

from pathlib import Path

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.end_to_end import Through
from bathyscope.dictionaries.job import DEFAULTS, Task, TrainSettings, open_job
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.learn import learn
from bathyscope.dictionaries.parent import open_parent
from bathyscope.dictionaries.ranks.mesh import ALONE, Mesh
from bathyscope.dictionaries.source import Batches, Hookpoint, Store
from bathyscope.errors import ConfigError

__all__ = ["TrainSettings", "train"]


def train(
    data: Store | Batches,
    kind: Kind,
    *,
    out: str | Path | None = None,
    hookpoint: Hookpoint = None,
    settings: TrainSettings = DEFAULTS,
    through: Through | None = None,
    start_from: Dictionary | str | Path | None = None,
    mesh: Mesh = ALONE,
) -> Dictionary:
    """A dictionary of `kind` learnt from a store's training documents or from batches [N, D], also written to `out`.

    Several hookpoints of a store, for a transcoder or crosscoder, lie side by side in the order given. `through` is
    what an end-to-end kind asks the model with, such as `activations.through.Through`. A run goes on from
    `start_from`, a dictionary of the kind's size and rule, its folder or Hub id; a lower `settings.lr` keeps it near.
    A finished `out` made with the same settings is read, not made again; an interrupted one is taken up where its last
    checkpoint left it. An iterable is taken in its own order; one that can be iterated only once needs
    `settings.n_tokens`, as does one that does not know its length, and resuming skips what was used before.
    The processes of a `mesh` (docs/many-processes.md) call this alike and learn one dictionary together; they need an
    `out`, on a disk that all see.
    Raises ConfigError for settings or batches that do not fit (with shard or batch, and row), no batches, or a run
    that diverges (with the step, what to change, and where its last checkpoint is), DeviceError when it does not fit
    into memory or on the disk.
    """
    job = open_job(data, [kind], hookpoint=hookpoint, settings=settings, mesh=mesh)
    if out is None and not mesh.is_alone:
        raise ConfigError("several processes train into a folder: give out")
    parent = open_parent(start_from)
    task = Task(kind=kind, settings=settings, out=None if out is None else Path(out), through=through, parent=parent)
    found = learn(job, {"": task})[""]
    if isinstance(found, Dictionary):
        return found
    raise found
