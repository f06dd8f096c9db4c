"""`Hardware`: what a kind of device can do at most, by its data sheet, and the share of it that is expected.

Named ones are in `hardware.toml`; one's own is a JSON file with the same fields. Nothing here is measured: that is
what `calibration` does for the machine at hand.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from bathyscope.config import from_json
from bathyscope.errors import ConfigError
from bathyscope.files import read_json
from bathyscope.planning.work import SORTS, Rates, Sort

Compute = Literal["float32", "bfloat16"]
ELEMENT_BYTES: Mapping[Compute, int] = {"float32": 4, "bfloat16": 2}
"""Bytes of a number in products; sums and weights that learn are float32 in any case."""
HOST_SORTS: tuple[Sort, ...] = ("postings", "counting", "examples", "tokenise", "write", "read", "hash")
"""Done by the processor and its disk, whatever the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One kind of device, and how several of it are joined."""

    device: Literal["cpu", "cuda"]
    """Whether it is a processor or a GPU."""
    memory_gb: float
    """Memory of one device, 10⁹ bytes."""
    tflops: Mapping[str, float]
    """Type of numbers in products → peak of dense products, 10¹² FLOP/s."""
    memory_gb_per_second: float
    """Peak of its memory."""
    product_share: float
    """Share of the peak of products that is expected."""
    memory_share: float
    """Share of the peak of memory that is expected."""
    devices_per_node: int = 1
    """Devices that are joined by the fast link."""
    link_gb_per_second: float = 10.0
    """What one device sends to others of its node."""
    network_gb_per_second: float = 1.0
    """What one device sends to other nodes."""
    steps_per_second: float = 1000.0
    """Most training steps, however small."""
    host: Mapping[str, float] | None = None
    """What processor and disk do in a second, for `HOST_SORTS`; None takes that of a plain server."""

    def __post_init__(self) -> None:
        if not self.tflops or set(self.tflops) - set(ELEMENT_BYTES):
            raise ConfigError(f"tflops are of {', '.join(self.tflops) or 'nothing'}: expected float32 or bfloat16")
        for name in ("product_share", "memory_share"):
            if not 0 < getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected a share above 0 and at most 1")
        strange = sorted(set(self.host or {}) - set(HOST_SORTS))
        if strange:
            raise ConfigError(f"host says how fast {', '.join(strange)} is: expected of {', '.join(HOST_SORTS)}")
        if self.devices_per_node < 1:
            raise ConfigError(f"devices_per_node is {self.devices_per_node}, expected at least 1")

    @property
    def best_compute(self) -> Compute:
        """The type of numbers with the higher peak."""
        return "bfloat16" if self.tflops.get("bfloat16", 0.0) > self.tflops.get("float32", 0.0) else "float32"

    def rates(self, compute: Compute, *, devices: int) -> Rates:
        """Expected rates of one of `devices` devices. Raises ConfigError when there is no peak for the type."""
        if compute not in self.tflops:
            raise ConfigError(f"this hardware has no peak for {compute}, only for {', '.join(self.tflops)}")
        memory = self.memory_share * self.memory_gb_per_second * 1e9
        link = self.link_gb_per_second if devices <= self.devices_per_node else self.network_gb_per_second
        own: dict[str, float] = {
            **dict.fromkeys(SORTS, memory),
            "product": self.product_share * self.tflops[compute] * 1e12,
            "step": self.steps_per_second,
            "link": link * 1e9,
        }
        return Rates(per_second={**own, **_host(), **(self.host or {})})


def known() -> tuple[str, ...]:
    """Names of the hardware that is listed."""
    return tuple(_table()["device"])


def hardware_of(name: str) -> Hardware:
    """The listed hardware of that name, or one's own from a JSON file. Raises ConfigError for anything else."""
    listed = _table()["device"]
    if name in listed:
        return from_json(Hardware, listed[name], where=name)
    path = Path(name).expanduser()
    if path.suffix == ".json" and path.is_file():
        return from_json(Hardware, read_json(path), where=path.name)
    raise ConfigError(f"no hardware is called {name!r}: expected this, {', '.join(listed)}, or a JSON file of your own")


def _host() -> Mapping[str, float]:
    return _table()["host"]


@cache
def _table() -> Mapping[str, Any]:
    return tomllib.loads(resources.files("bathyscope.planning").joinpath("hardware.toml").read_text("utf-8"))
