"""Batches on their way to a device one ahead of the step that needs them: read, pinned and copied while it computes.

Knows nothing of what is learnt from them.
"""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.source import Stream


@runtime_checkable
class Copying(Protocol):
    """A way to a device that does not wait."""

    def begin(self, batch: Tensor) -> Any:
        """Start copying; what `end` needs."""
        ...

    def end(self, begun: Any) -> Tensor:
        """The copy, to be read by what is asked of the device from now on."""
        ...


class PinnedCopying:
    """Copies from page-locked memory on a stream of their own, beside the kernels of a step."""

    def __init__(self, device: torch.device) -> None:
        self._device, self._stream = device, torch.cuda.Stream(device)

    def begin(self, batch: Tensor) -> tuple[Tensor, Any]:
        """The copy and when it is there. PyTorch keeps the page-locked memory until then."""
        with torch.cuda.stream(self._stream):
            copy = (batch if batch.is_cuda else batch.pin_memory()).to(self._device, non_blocking=True)
            return copy, self._stream.record_event()

    def end(self, begun: tuple[Tensor, Any]) -> Tensor:
        """The copy; the current stream waits for it, the caller does not."""
        copy, is_there = begun
        current = torch.cuda.current_stream(self._device)
        current.wait_event(is_there)
        copy.record_stream(current)
        return copy


class _Read(NamedTuple):
    """A batch read ahead."""

    batch: Any
    position: Any
    begun: Any


class Ahead:
    """A stream of batches with their copies on a device; position and errors are those of the batch given last.

    Without a `copying` nothing is read ahead.
    """

    def __init__(self, stream: Stream, device: str, *, copying: Copying | None = None) -> None:
        self._stream, self._device = stream, torch.device(device)
        self._copying = PinnedCopying(self._device) if copying is None and self._device.type == "cuda" else copying
        self._given: _Read | None = None
        self._next: _Read | Exception | None = None

    def __next__(self) -> Tensor:
        """The next batch, as it was read."""
        found = self._next or self._read()
        if isinstance(found, Exception):
            raise found
        self._given, self._next = found, None if self._copying is None else self._read()
        return found.batch

    def position(self) -> Any:
        """Where the stream goes on after the batch given last."""
        return self._stream.position() if self._given is None else self._given.position

    def copy(self) -> Float[Tensor, "N W"]:
        """The batch given last on the device, float32."""
        assert self._given is not None, "a batch was given"
        batch = self._given.batch if self._copying is None else self._copying.end(self._given.begun)
        return batch.to(self._device, torch.float32)

    def _read(self) -> _Read | Exception:
        """The next batch on its way; an error is kept until it is this batch's turn."""
        try:
            batch = next(self._stream)
        except Exception as error:  # noqa: BLE001 - raised when the batch is asked for
            return error
        position, begun = self._stream.position(), None
        if self._copying is not None and isinstance(batch, Tensor):
            begun = self._copying.begin(batch)
        return _Read(batch, position, begun)
