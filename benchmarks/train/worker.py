"""The child's side: builds one contender and runs blocks of steps when asked, in the contender's own environment.

    python -m train.worker MODULE VARIANT

One JSON line in, one JSON line out. What the contender's libraries print goes to standard error.
"""

import importlib
import json
import os
import queue
import sys
import threading
import time
import traceback
from typing import Any

from peak import forget_peak, peak_bytes
from train.task import Task


class Worker:
    """A contender, its batches, and how many of them it has seen."""

    def __init__(self, module: str, variant: str) -> None:
        self.adapter, self.variant = importlib.import_module(f"train.{module}"), variant
        self.contender: Any = None
        self.task: Task | None = None
        self.done = 0

    def build(self, task: dict[str, Any]) -> dict[str, Any]:
        """Read the activations, note the memory held so far, and build the contender."""
        import torch
        from safetensors import safe_open

        self.task = Task(**task)
        torch.set_num_threads(self.task.threads)
        with safe_open(self.task.rows, framework="pt") as file:
            self.x_ND = file.get_tensor("x").clone()
        one = torch.zeros(1, requires_grad=True)
        one.sum().backward()
        torch.optim.Adam([one]).step()  # what torch itself loads at a first step is no contender's memory
        self.held = forget_peak()
        self.contender, self.done = self.adapter.build(self.task, self._batch(0), self.variant), 0
        versions = {"python": sys.version.split()[0], "torch": torch.__version__, **self.adapter.versions()}
        return {"versions": versions, "settings": dict(self.contender.settings)}

    def steps(self, n: int) -> dict[str, Any]:
        """Seconds of `n` steps together, each step's loss, and the most memory held above what the start held."""
        batches = [self._batch(self.done + i) for i in range(n)]
        start = time.monotonic()
        losses = [self.contender.step(x_ND) for x_ND in batches]
        seconds = time.monotonic() - start
        self.done += n
        return {
            "seconds": seconds,
            "losses": [float(loss) for loss in losses if loss is not None],
            "figures": self.contender.figures(),
            "bytes_above_start": peak_bytes() - self.held,
            "bytes_peak": peak_bytes(),
        }

    def weights(self, file: str) -> dict[str, Any]:
        """The dictionary as it is now, written to `file`."""
        from safetensors.torch import save_file

        found = self.contender.weights()
        save_file({name: tensor.detach().float().contiguous().clone() for name, tensor in found.items()}, file)
        return {}

    def _batch(self, number: int) -> Any:
        """Batches follow each other through the file, and again from its beginning."""
        assert self.task is not None, "build comes first"
        first = number % (len(self.x_ND) // self.task.batch) * self.task.batch
        return self.x_ND[first : first + self.task.batch].float()


def _listen(lines: "queue.Queue[str]") -> None:
    """Hand on what is asked; when the other side closes or is gone, end at once, in the middle of steps too."""
    for line in sys.stdin:
        lines.put(line)
    os._exit(0)


def main(module: str, variant: str) -> None:
    """Answer until the other side closes."""
    with os.fdopen(os.dup(1), "w") as channel:
        os.dup2(2, 1)
        lines: queue.Queue[str] = queue.Queue()
        threading.Thread(target=_listen, args=(lines,), daemon=True).start()
        worker = Worker(module, variant)
        calls = {"build": worker.build, "steps": worker.steps, "weights": worker.weights}
        while True:
            request = json.loads(lines.get())
            try:
                answer = calls[request.pop("do")](**request)
            except Exception:  # noqa: BLE001 the other side tells it
                answer = {"error": traceback.format_exc()}
            channel.write(json.dumps(answer) + "\n")
            channel.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
