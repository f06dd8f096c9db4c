"""A stage as shares and a join: each process makes a part and knows nothing of the others, the first joins the parts.

Parts are folders beside the one that is made, `NAME.parts/0-of-4`. They are artifacts of their own: a share that was
interrupted goes on, one that is finished is not made again. They are removed when the whole is there.
"""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from bathyscope.activations.share import Share
from bathyscope.artifacts import MANIFEST
from bathyscope.dictionaries.ranks.mesh import Mesh


def together(
    mesh: Mesh, out: Path, make_part: Callable[[Path, Share], object], join: Callable[[Sequence[Path]], object]
) -> None:
    """Make `out` by all processes of the mesh, which call this alike; returns on each when the folder is whole.

    `make_part` is told where its part goes and which share of the work it is; `join` gets all parts in order. One
    process joins nothing of others: callers do without this.
    """
    shares = [Share(number=number, of=mesh.n_ranks) for number in range(mesh.n_ranks)]
    parts = [parts_folder(out) / f"{share.number}-of-{share.of}" for share in shares]
    if not mesh.told((out / MANIFEST).exists):
        make_part(parts[mesh.rank], shares[mesh.rank])
        mesh.wait()
        if mesh.is_first:
            join(parts)
    if mesh.is_first:
        shutil.rmtree(parts_folder(out), ignore_errors=True)
    mesh.wait()


def parts_folder(out: Path) -> Path:
    """Where the parts of `out` lie."""
    return out.with_name(f"{out.name}.parts")
