"""This process's place among several that were started together, by `bathyscope launch`, torchrun or a task of Ray.

They find each other through the environment that torchrun sets: RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT.
"""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta

from bathyscope import runtime
from bathyscope.dictionaries.ranks.mesh import ALONE, Mesh, joined_mesh
from bathyscope.errors import ConfigError, DeviceError

PATIENCE = timedelta(days=1)
"""How long a rank waits for another, which may be writing a folder; a rank that died is noticed at once."""


@contextlib.contextmanager
def joined(*, feature_ranks: int = 1) -> Iterator[Mesh]:
    """The mesh of all processes of the group, in which each has `1 / feature_ranks` of the features; one alone is fine.

    Raises ConfigError when the number of processes is no multiple of `feature_ranks`, DeviceError when they cannot
    reach each other.
    """
    if not runtime.is_in_group():
        if feature_ranks != 1:
            raise ConfigError(f"feature_ranks is {feature_ranks}, but this is one process: start more with launch")
        yield ALONE
        return
    import torch
    import torch.distributed

    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise DeviceError(f"the processes do not find each other: {str(error).splitlines()[0]}") from error
    try:
        yield joined_mesh(n_feature_ranks=feature_ranks)
    finally:
        torch.distributed.destroy_process_group()
