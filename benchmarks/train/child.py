"""The asking side: a contender in a process of its own, in its own environment."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from train.contender import CONTENDERS
from train.task import Task

BENCHMARKS = Path(__file__).resolve().parents[1]
ENVIRONMENTS = BENCHMARKS.parent / ".interop"
KEEP_FREED = {"MALLOC_TRIM_THRESHOLD_": str(1 << 30), "MALLOC_MMAP_THRESHOLD_": str(1 << 30)}
"""What makes glibc keep freed memory; `bathyscope train` does the same for itself."""


def python_of(name: str) -> Path | None:
    """The Python that a contender runs in; None where its environment was not made."""
    package = CONTENDERS[name].package
    if package is None:
        return Path(sys.executable)
    python = ENVIRONMENTS / package / "bin" / "python"
    return python if python.exists() else None


class Child:
    """A contender's process; ends with the block."""

    def __init__(self, name: str, *, log: Path, threads: int, keeps_freed: bool) -> None:
        """Start it; what its libraries say goes to `log`. `keeps_freed` gives its allocator the setting of ours."""
        entry, python = CONTENDERS[name], python_of(name)
        assert python is not None, f"{name} is not set up"
        paths = [str(BENCHMARKS)]
        if entry.package is None:
            paths += [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
        environment = {
            **os.environ,
            **(KEEP_FREED if keeps_freed else {}),
            "PYTHONPATH": os.pathsep.join(paths),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "NUMBA_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
            "WANDB_MODE": "disabled",
            "HF_HUB_OFFLINE": "1",
        }
        words = [str(python), "-m", "train.worker", entry.module, entry.variant]
        self.name, self._log = name, log.open("w")
        pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self._log}
        self._process = subprocess.Popen(words, text=True, env=environment, **pipes)

    def build(self, task: Task) -> dict[str, Any]:
        """Versions and settings of the contender, which is now ready."""
        return self._ask(do="build", task=dataclasses.asdict(task))

    def steps(self, n: int) -> dict[str, Any]:
        """What `Worker.steps` says of `n` further steps."""
        return self._ask(do="steps", n=n)

    def weights(self, file: Path) -> None:
        """Have the dictionary as it is now written to `file`."""
        self._ask(do="weights", file=str(file))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.__exit__(kind, error, at)  # closes both pipes, which ends the worker, and waits for it
        self._log.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        assert self._process.stdin is not None, "opened as a pipe"
        assert self._process.stdout is not None, "opened as a pipe"
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"error": f"the process ended; see {self._log.name}"}
        if "error" in answer:
            sys.exit(f"error: {self.name} failed:\n{answer['error']}")
        return answer
