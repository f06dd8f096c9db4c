"""A training step as one CUDA graph: its kernels are recorded once and started together from then on.

For steps that never wait for the device: those of TopK without an auxiliary loss, with an optimiser made `capturable`.
Where starting hundreds of small kernels takes longer than running them, this is what is saved.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from bathyscope.errors import DeviceError

WARM_UPS = 3
"""Steps made before the recording: kernels are compiled, and memory is found, outside of it."""


class CapturedStep:
    """A step of batches of one shape. Making it runs `WARM_UPS` real steps on the example."""

    def __init__(self, step: Callable[[Tensor], Tensor], example: Tensor) -> None:
        """Record `step`, which gets a batch and gives a tensor, such as the loss.

        Raises DeviceError for an example that is not on a GPU.
        """
        if not example.is_cuda:
            raise DeviceError(f"a step on {example.device} cannot be recorded: CUDA graphs need a batch on a GPU")
        self._batch = example.clone()
        aside = torch.cuda.Stream(example.device)
        aside.wait_stream(torch.cuda.current_stream(example.device))
        with torch.cuda.stream(aside):
            for _ in range(WARM_UPS):
                step(self._batch)
        torch.cuda.current_stream(example.device).wait_stream(aside)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._outcome = step(self._batch)

    def __call__(self, batch: Tensor) -> Tensor:
        """Make a step; the outcome is overwritten by the next one."""
        self._batch.copy_(batch)
        self._graph.replay()
        return self._outcome
