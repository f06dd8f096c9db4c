"""`plan`: what collect, train, index and risk will cost on given hardware, and how to lay them out over devices.

Sums of amounts over rates: FLOPs and bytes follow from sizes, rates from the calibration of this machine or from data
sheets. Stages of one plan run one after another on the same devices; the parts of a stage, too, do not overlap.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from bathyscope.errors import ConfigError
from bathyscope.planning.choose import choose_layout
from bathyscope.planning.layout import Layout
from bathyscope.planning.notes import notes_on
from bathyscope.planning.place import Place, place_of
from bathyscope.planning.settings import DEFAULTS, PlanSettings
from bathyscope.planning.shape import ModelShape, shape_of
from bathyscope.planning.sizes import Sizes, sizes_of
from bathyscope.planning.stage_plan import StagePlan
from bathyscope.planning.stages import collect, index, risk, train
from bathyscope.planning.work import Part, Rates


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


def plan(settings: PlanSettings = DEFAULTS) -> Plan:
    """What the work of `settings` costs, and a layout for it; a machine that was never calibrated is, in half a minute.

    A plan that fits nowhere is made all the same and says so in `fits` and `notes`. Raises ModelError for a model whose
    sizes are not known, ConfigError for hardware that is not.
    """
    shape = shape_of(settings.model)
    sizes, place = sizes_of(settings, shape), place_of(settings)
    layout = choose_layout(sizes, place, settings)
    rates = place.rates(layout.devices)
    stages = _stages(sizes, layout, rates, place)
    return Plan(
        settings=settings,
        model=shape,
        layout=layout,
        stages=stages,
        rates=rates,
        device_bytes=place.device_bytes,
        notes=notes_on(settings, sizes, layout, stages, place),
    )


def _stages(sizes: Sizes, layout: Layout, rates: Rates, place: Place) -> tuple[StagePlan, ...]:
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
