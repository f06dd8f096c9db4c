"""As much of Ray as bathyscope calls, under the same names: tasks are threads of this process."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import ModuleType, SimpleNamespace
from typing import Any


class RayError(Exception):
    """The base of what `get` raises for a task that is lost."""


class FakeRay:
    """Remembers what was asked of it."""

    def __init__(self, *, loses: int | None = None) -> None:
        """`loses` is the number of the task that is lost, counted from 0 in order of their start."""
        self.started: list[str] = []
        self.groups: list[list[dict[str, int]]] = []
        self.n_removed = 0
        self.options: list[dict[str, Any]] = []
        self._loses, self._pool = loses, ThreadPoolExecutor(8)

    def modules(self) -> dict[str, ModuleType]:
        """What stands in `sys.modules`."""
        ray, util, strategies = (ModuleType(f"ray{part}") for part in ("", ".util", ".util.scheduling_strategies"))
        strategies.PlacementGroupSchedulingStrategy = SimpleNamespace
        util.placement_group, util.remove_placement_group = self._group, self._remove
        util.get_node_ip_address = lambda: "127.0.0.1"
        util.scheduling_strategies = strategies
        ray.is_initialized, ray.init, ray.get = (lambda: bool(self.started)), self._init, lambda task: task.result()
        ray.remote, ray.util, ray.exceptions = self._remote, util, SimpleNamespace(RayError=RayError)
        return {"ray": ray, "ray.util": util, "ray.util.scheduling_strategies": strategies}

    def _init(self, address: str | None) -> None:
        self.started.append(str(address))

    def _group(self, bundles: list[dict[str, int]], strategy: str) -> Any:
        assert strategy == "PACK"
        self.groups.append(bundles)
        return SimpleNamespace(ready=lambda: self._pool.submit(lambda: None))

    def _remove(self, _group: Any) -> None:
        self.n_removed += 1

    def _remote(self, function: Callable[..., Any]) -> Any:
        return SimpleNamespace(options=lambda **options: self._with(function, options))

    def _with(self, function: Callable[..., Any], options: dict[str, Any]) -> Any:
        return SimpleNamespace(remote=lambda *arguments: self._start(function, options, arguments))

    def _start(self, function: Callable[..., Any], options: dict[str, Any], arguments: tuple[Any, ...]) -> Future[Any]:
        self.options.append(options)
        if len(self.options) - 1 == self._loses:
            return self._pool.submit(_lost)
        return self._pool.submit(function, *arguments)


def _lost() -> None:
    raise RayError
