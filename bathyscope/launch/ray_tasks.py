"""The same group of processes on a Ray cluster: one task each, placed together, on a disk that all of them see.

Ray finds room and starts the tasks; each of them runs the command as a process of its own and gives back its exit code.
Needs the extra `ray`.
"""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bathyscope.errors import ConfigError
from bathyscope.launch.processes import free_port
from bathyscope.launch.rounds import Ended, ended, environment

LOST = -9
"""Stands for the exit code of a task whose machine or worker is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RaySettings:
    """What each process needs of a cluster."""

    cpus: int = 1
    """Processor cores of each process."""
    gpus: int = 0
    """GPUs of each process."""
    address: str | None = None
    """The cluster, as `ray.init` takes it; None: what RAY_ADDRESS says, else one is started on this machine."""

    def __post_init__(self) -> None:
        if self.cpus < 1 or self.gpus < 0:
            raise ConfigError(f"cpus is {self.cpus} and gpus {self.gpus}: expected at least 1, and 0 or more")

    @property
    def bundle(self) -> dict[str, int]:
        """The same, as Ray counts it."""
        return {"CPU": self.cpus} | ({"GPU": self.gpus} if self.gpus else {})


class OnRay:
    """Rounds on a cluster: called as `on_this_machine` is. Raises ConfigError without the extra."""

    def __init__(self, settings: RaySettings) -> None:
        try:
            import ray  # pyright: ignore[reportMissingImports]  (an extra)
        except ImportError as error:
            raise ConfigError('Ray is not installed: pip install "bathyscope[ray]"') from error
        self._settings = settings
        if not ray.is_initialized():
            ray.init(address=settings.address)

    def __call__(self, words: Sequence[str], nproc: int) -> Ended:
        """Run `nproc` tasks with these words, when there is room for all of them at once, and wait for their end."""
        import ray  # pyright: ignore[reportMissingImports]  (an extra)

        group = ray.util.placement_group([self._settings.bundle] * nproc, strategy="PACK")
        try:
            ray.get(group.ready())
            address, port = ray.get(self._task(_meeting_point, group, 0).remote())
            tasks = [
                self._task(_run, group, rank).remote(list(words), environment(rank, nproc, address, port, local_rank=0))
                for rank in range(nproc)
            ]
            return ended([_code(ray, task) for task in tasks])
        finally:
            ray.util.remove_placement_group(group)

    def _task(self, function: Any, group: Any, rank: int) -> Any:
        """The function as a task in the place of a rank; never tried again by Ray alone: all are, together."""
        import ray  # pyright: ignore[reportMissingImports]  (an extra)
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy  # pyright: ignore[reportMissingImports]

        place = PlacementGroupSchedulingStrategy(placement_group=group, placement_group_bundle_index=rank)
        needs = {"num_cpus": self._settings.cpus, "num_gpus": self._settings.gpus}
        return ray.remote(function).options(**needs, scheduling_strategy=place, max_retries=0)


def _meeting_point() -> tuple[str, int]:
    """Address and free port of the machine that this task runs on."""
    import ray  # pyright: ignore[reportMissingImports]  (an extra)

    return ray.util.get_node_ip_address(), free_port()


def _run(words: list[str], own: dict[str, str]) -> int:
    """The exit code of the command. Ray has set which GPUs the task, and so the process, sees."""
    return subprocess.run(words, env={**os.environ, **own}, check=False).returncode


def _code(ray: Any, task: Any) -> int:
    try:
        return int(ray.get(task))
    except ray.exceptions.RayError:
        return LOST
