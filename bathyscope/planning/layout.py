"""`Layout`: how work is spread over devices.

Data parallel: each takes some rows of a batch. Feature parallel: each holds some columns of the dictionary.
"""

from dataclasses import dataclass
from typing import Literal

from bathyscope.planning.hardware import Compute


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How work is spread."""

    batch_size: int
    """Tokens of one training step, over all devices."""
    data_parallel: int
    """Groups of devices that each take a share of the batch."""
    feature_parallel: int
    """Devices of a group, each of which holds a share of the features."""
    compute: Compute
    """Numbers in products."""
    keeps_activations: bool
    """Whether activations are written once and read in every epoch, or made anew by the model whenever needed."""
    buffer_bytes: int
    """Room for pre-activations, which are made a piece of the batch at a time."""
    device: Literal["cpu", "cuda"] = "cpu"
    """What each of the devices is."""

    @property
    def devices(self) -> int:
        """Devices in all."""
        return self.data_parallel * self.feature_parallel


def splits(devices: int) -> list[tuple[int, int]]:
    """Every (data parallel, feature parallel) of so many devices whose second is a power of two."""
    found: list[tuple[int, int]] = []
    of_features = 1
    while devices % of_features == 0:
        found.append((devices // of_features, of_features))
        of_features *= 2
    return found
