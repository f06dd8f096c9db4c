"""`plan`: what collect, train, index and risk will cost on given hardware, and how to lay them out over devices.

Sums of amounts over rates: FLOPs and bytes follow from sizes, rates from the calibration of this machine or from data
sheets. Stages of one plan run one after another on the same devices; the parts of a stage, too, do not overlap.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bathyscope import runtime
from bathyscope.dictionaries.kernels.encode import CHUNK_BYTES
from bathyscope.errors import ConfigError
from bathyscope.planning.calibration import THIS, calibration
from bathyscope.planning.hardware import ELEMENT_BYTES, Compute, Hardware, hardware_of
from bathyscope.planning.layout import Layout, splits
from bathyscope.planning.settings import DEFAULTS, PlanSettings
from bathyscope.planning.shape import ModelShape, shape_of
from bathyscope.planning.sizes import Sizes, sizes_of
from bathyscope.planning.stages import collect, index, risk, train
from bathyscope.planning.work import Part, Rates, total_bytes, total_flops, total_seconds

USABLE = 0.92
"""Share of a device's memory that work can have: the rest goes to the runtime and to gaps."""
GPU_BUFFER_BYTES = 1 << 30
"""Room for pre-activations on a GPU."""
UNKNOWN_MEMORY_BYTES = 8_000_000_000
"""Presumed where the system does not say what is free."""
ELSEWHERE_DISK_BYTES = 1e13
"""Disk room that is presumed on named hardware."""
MOST_DEVICES = 1 << 14
LEAST_BATCH, MOST_BATCH = 1024, 65_536
OUTWEIGHS = 2.0
"""Products of a step should take so many times as long as passes over the weights."""
QUADRATIC = "neighbours: firing together"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What the work will cost."""

    settings: PlanSettings
    """What was asked."""
    model: ModelShape
    """The model's sizes."""
    layout: Layout
    """How to lay it out."""
    stages: tuple[StagePlan, ...]
    """Every stage, in order."""
    rates: Rates
    """What one device does in a second."""
    device_bytes: int
    """Memory of one device that can be used."""
    notes: tuple[str, ...]
    """What to know about the figures."""

    @property
    def seconds(self) -> float:
        """All stages one after another."""
        return math.fsum(stage.seconds for stage in self.stages)

    @property
    def fits(self) -> bool:
        """Whether every stage fits into the memory of a device."""
        return all(stage.fits for stage in self.stages)

    def stage(self, name: str) -> StagePlan:
        """The stage of that name. Raises ConfigError when the plan has none."""
        for one in self.stages:
            if one.name == name:
                return one
        raise ConfigError(f"the plan has no stage {name!r}, only {', '.join(one.name for one in self.stages)}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the work is to run: devices of the listed kind, or this machine as it was measured."""

    hardware: Hardware | None
    measured: Rates | None
    device_bytes: int
    disk_bytes: float
    compute: Compute

    @property
    def buffer_bytes(self) -> int:
        """Room for pre-activations."""
        return GPU_BUFFER_BYTES if self.hardware is not None and self.hardware.device == "cuda" else CHUNK_BYTES

    def rates(self, devices: int) -> Rates:
        """What each of so many devices does."""
        if self.hardware is not None:
            return self.hardware.rates(self.compute, devices=devices)
        assert self.measured is not None, "a place is listed or measured"
        return self.measured


def plan(settings: PlanSettings = DEFAULTS) -> Plan:
    """What the work of `settings` costs, and a layout for it; a machine that was never calibrated is, in half a minute.

    A plan that fits nowhere is made all the same and says so in `fits` and `notes`. Raises ModelError for a model whose
    sizes are not known, ConfigError for hardware that is not.
    """
    shape = shape_of(settings.model)
    sizes, place = sizes_of(settings, shape), _place(settings)
    layout = _layout(sizes, place, settings)
    rates = place.rates(layout.devices)
    stages = _stages(sizes, layout, rates, place)
    return Plan(
        settings=settings,
        model=shape,
        layout=layout,
        stages=stages,
        rates=rates,
        device_bytes=place.device_bytes,
        notes=_notes(sizes, layout, stages, place),
    )


def _place(settings: PlanSettings) -> _Place:
    """Rates, memory and disk, and the numbers to reckon in."""
    given = None if settings.disk_gb is None else settings.disk_gb * 1e9
    if settings.hardware == THIS:
        if settings.compute == "bfloat16" or (settings.devices or 1) > 1:
            raise ConfigError("this machine was measured as one device that reckons in float32: name other hardware")
        return _Place(
            hardware=None,
            measured=calibration().rates,
            device_bytes=runtime.free_memory_bytes() or UNKNOWN_MEMORY_BYTES,
            disk_bytes=given or float(runtime.free_disk_bytes(Path())),
            compute="float32",
        )
    hardware = hardware_of(settings.hardware)
    return _Place(
        hardware=hardware,
        measured=None,
        device_bytes=int(USABLE * hardware.memory_gb * 1e9),
        disk_bytes=given or ELSEWHERE_DISK_BYTES,
        compute=settings.compute or hardware.best_compute,
    )


def _layout(sizes: Sizes, place: _Place, settings: PlanSettings) -> Layout:
    """The fastest split of the devices asked for; else of the fewest that hold training and meet its hours."""
    if settings.devices is not None:
        return _fastest(sizes, place, settings, devices=settings.devices)
    if settings.hardware == THIS:
        return _fastest(sizes, place, settings, devices=1)
    devices = 1
    while True:
        layout = _fastest(sizes, place, settings, devices=devices)
        seconds = total_seconds(train.parts(sizes, layout, place.rates(devices)))
        is_quick = settings.within_hours is None or seconds <= 3600 * settings.within_hours
        if devices >= MOST_DEVICES or (is_quick and train.memory_bytes(sizes, layout) <= place.device_bytes):
            return layout
        devices *= 2


def _fastest(sizes: Sizes, place: _Place, settings: PlanSettings, *, devices: int) -> Layout:
    """Of the splits whose training fits into a device the quickest; of none that fits the smallest."""
    rates = place.rates(devices)
    keeps = collect.disk_bytes(sizes) + train.disk_bytes(sizes) <= place.disk_bytes
    layouts = [
        Layout(
            batch_size=settings.batch_size or _batch_size(sizes, rates, place.compute),
            data_parallel=of_data,
            feature_parallel=of_features,
            compute=place.compute,
            keeps_activations=keeps,
            buffer_bytes=place.buffer_bytes,
        )
        for of_data, of_features in splits(devices)
        if of_features <= sizes.n_features
    ]
    held = [layout for layout in layouts if train.memory_bytes(sizes, layout) <= place.device_bytes]
    if not held:
        return min(layouts, key=lambda layout: train.memory_bytes(sizes, layout))
    return min(held, key=lambda layout: total_seconds(train.step_parts(sizes, layout, rates, n_steps=1)))


def _batch_size(sizes: Sizes, rates: Rates, compute: Compute) -> int:
    """The smallest power of two at which products outweigh what a step costs whatever its batch; 1,024 to 65,536."""
    batch = LEAST_BATCH
    while batch < MOST_BATCH:
        amounts = train.step_amounts(
            n=batch,
            n_features=sizes.n_features,
            k=sizes.k,
            d_model=sizes.d_model,
            element_bytes=ELEMENT_BYTES[compute],
        )
        seconds = {sort: amount / rates.per_second[sort] for sort, amount in amounts.items()}
        if seconds["product"] >= OUTWEIGHS * seconds["weights"]:
            return batch
        batch *= 2
    return batch


def _stages(sizes: Sizes, layout: Layout, rates: Rates, place: _Place) -> tuple[StagePlan, ...]:
    disk = {
        "collect": collect.disk_bytes(sizes),
        "train": train.disk_bytes(sizes),
        "index": index.disk_bytes(sizes),
        "risk": 0,
    }
    rooms: dict[str, tuple[Callable[..., tuple[Part, ...]], Callable[[Sizes, Layout], int]]] = {
        "collect": (collect.parts, collect.memory_bytes),
        "train": (train.parts, train.memory_bytes),
        "index": (index.parts, index.memory_bytes),
        "risk": (risk.parts, risk.memory_bytes),
    }
    if not layout.keeps_activations:
        del rooms["collect"]
    return tuple(
        StagePlan(
            name=name,
            devices=layout.devices,
            parts=parts(sizes, layout, rates),
            memory_bytes=memory_bytes(sizes, layout),
            disk_bytes=disk[name],
            fits=memory_bytes(sizes, layout) <= place.device_bytes,
        )
        for name, (parts, memory_bytes) in rooms.items()
    )


def _notes(sizes: Sizes, layout: Layout, stages: tuple[StagePlan, ...], place: _Place) -> tuple[str, ...]:
    """What to know about the figures, most important first."""
    notes = [
        f"{stage.name} does not fit: {_gb(stage.memory_bytes)} a device are needed, {_gb(place.device_bytes)} can be "
        f"used; {_remedy(stage.name)}"
        for stage in stages
        if not stage.fits
    ]
    stored = collect.disk_bytes(sizes)
    if layout.keeps_activations:
        notes.append(f"activations are kept: {_tb(stored)} of {_tb(place.disk_bytes)}")
    else:
        notes.append(
            f"activations are made anew while training: keeping them takes {_tb(stored)}, there are "
            f"{_tb(place.disk_bytes)} (--disk-gb)"
        )
    notes.append(_source_note(place))
    indexed = next(stage for stage in stages if stage.name == "index")
    counted = next(part for part in indexed.parts if part.name == QUADRATIC)
    if counted.seconds > indexed.seconds / 2:
        notes.append("most of the index is features counted that fire together, which grows with the features squared")
    return tuple(notes)


def _remedy(stage: str) -> str:
    """What to change when the stage does not fit."""
    if stage == "train":
        return "train fewer features, or take more devices or larger ones"
    if stage == "index":
        return "take devices with more memory: each holds the whole dictionary"
    return "take devices with more memory: each holds the whole model"


def _source_note(place: _Place) -> str:
    """Where the rates come from."""
    hardware = place.hardware
    if hardware is None:
        return "rates were measured on this machine (bathyscope plan --calibrate measures them again)"
    peak, memory = hardware.tflops[place.compute], hardware.memory_gb_per_second
    return (
        f"rates are not measured: {hardware.product_share:g} of {peak:g} TFLOP/s ({place.compute}) and "
        f"{hardware.memory_share:g} of {memory:,g} GB/s, from the data sheet; those of processor and disk are presumed"
    )


def _gb(n_bytes: int | float) -> str:
    return f"{n_bytes / 1e9:,.1f} GB"


def _tb(n_bytes: int | float) -> str:
    return f"{n_bytes / 1e12:,.1f} TB" if n_bytes >= 1e12 else _gb(n_bytes)
