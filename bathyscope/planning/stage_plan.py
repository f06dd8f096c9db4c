"""`StagePlan`: what one stage will cost."""

from dataclasses import dataclass

from bathyscope.planning.work import Part, total_bytes, total_flops, total_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class StagePlan:
    """One stage, on one of the layout's devices."""

    name: str
    """collect, train, index or risk."""
    devices: int
    """Devices that share it."""
    parts: tuple[Part, ...]
    """What one of them does, one part after another."""
    memory_bytes: int
    """What one of them must hold."""
    disk_bytes: int
    """What lies on the disk in the end, or at most meanwhile."""
    fits: bool
    """Whether a device has that memory."""

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return total_seconds(self.parts)

    @property
    def flops(self) -> float:
        """FLOPs of dense products, on all devices."""
        return self.devices * total_flops(self.parts)

    @property
    def moved_bytes(self) -> float:
        """Bytes that are moved besides, on all devices."""
        return self.devices * total_bytes(self.parts)
