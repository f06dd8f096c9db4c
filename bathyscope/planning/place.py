"""`Place`: where work is to run, devices of a listed kind or this machine as it was measured."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from bathyscope import runtime
from bathyscope.dictionaries.kernels.encode import CHUNK_BYTES
from bathyscope.errors import ConfigError
from bathyscope.planning.calibration import THIS, calibration
from bathyscope.planning.hardware import Compute, Hardware, hardware_of
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.work import Rates

USABLE = 0.92
"""Share of a device's memory that work can have: the rest goes to the runtime and to gaps."""
GPU_BUFFER_BYTES = 1 << 30
"""Room for pre-activations on a GPU."""
UNKNOWN_MEMORY_BYTES = 8_000_000_000
"""Presumed where the system does not say what is free."""
ELSEWHERE_DISK_BYTES = 1e13
"""Disk room that is presumed on named hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Rates, memory and disk."""

    hardware: Hardware | None
    """What is listed; None for this machine."""
    measured: Rates | None
    """What this machine does; None for listed hardware."""
    device_bytes: int
    """Memory of one device that work can have."""
    disk_bytes: float
    """Disk room."""
    compute: Compute
    """Numbers in products."""

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        """What each device is; this machine is a processor."""
        return "cpu" if self.hardware is None else self.hardware.device

    @property
    def buffer_bytes(self) -> int:
        """Room for pre-activations."""
        return GPU_BUFFER_BYTES if self.device == "cuda" else CHUNK_BYTES

    def rates(self, devices: int) -> Rates:
        """What each of so many devices does."""
        if self.hardware is not None:
            return self.hardware.rates(self.compute, devices=devices)
        assert self.measured is not None, "a place is listed or measured"
        return self.measured


def place_of(settings: PlanSettings) -> Place:
    """Rates, memory and disk, and the numbers to reckon in."""
    given = None if settings.disk_gb is None else settings.disk_gb * 1e9
    if settings.hardware == THIS:
        if settings.compute == "bfloat16" or (settings.devices or 1) > 1 or settings.within_hours is not None:
            raise ConfigError(
                "this machine is measured as one device that reckons in float32: leave out devices, within_hours and "
                "compute, or name other hardware"
            )
        return Place(
            hardware=None,
            measured=calibration().rates,
            device_bytes=runtime.free_memory_bytes() or UNKNOWN_MEMORY_BYTES,
            disk_bytes=given or float(runtime.free_disk_bytes(Path())),
            compute="float32",
        )
    hardware = hardware_of(settings.hardware)
    return Place(
        hardware=hardware,
        measured=None,
        device_bytes=int(USABLE * hardware.memory_gb * 1e9),
        disk_bytes=given or ELSEWHERE_DISK_BYTES,
        compute=settings.compute or hardware.best_compute,
    )
