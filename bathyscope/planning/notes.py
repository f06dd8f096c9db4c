"""What to know about the figures of a plan, in sentences."""

from bathyscope.planning.amounts import bytes_text
from bathyscope.planning.layout import Layout
from bathyscope.planning.place import Place
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stage_plan import StagePlan
from bathyscope.planning.stages import collect, train
from bathyscope.planning.stages.index import COMPARED


def notes_on(
    settings: PlanSettings, sizes: Sizes, layout: Layout, stages: tuple[StagePlan, ...], place: Place
) -> tuple[str, ...]:
    """What to know about the figures, most important first."""
    notes = [
        f"{stage.name} does not fit: {bytes_text(stage.memory_bytes)} a device are needed, "
        f"{bytes_text(place.device_bytes)} can be used; {_remedy(stage.name)}"
        for stage in stages
        if not stage.fits
    ]
    stored, own = collect.disk_bytes(sizes), train.disk_bytes(sizes)
    if own > place.disk_bytes:
        notes.append(
            f"the dictionary and its checkpoints take {bytes_text(own)} of disk, there are "
            f"{bytes_text(place.disk_bytes)}: train fewer features or find room"
        )
    hours = next(stage for stage in stages if stage.name == "train").seconds / 3600
    if settings.within_hours is not None and hours > settings.within_hours:
        notes.append(f"training takes {hours:,.1f} h, not {settings.within_hours:g}: more devices gain nothing")
    if layout.keeps_activations:
        notes.append(f"activations are kept: {bytes_text(stored)} of {bytes_text(place.disk_bytes)}")
    else:
        notes.append(
            f"activations are made anew while training: keeping them takes {bytes_text(stored)}, there are "
            f"{bytes_text(place.disk_bytes)} (--disk-gb)"
        )
    notes.append(_source_note(place))
    indexed = next(stage for stage in stages if stage.name == "index")
    compared = next(part for part in indexed.parts if part.name == COMPARED)
    if compared.seconds > indexed.seconds / 2:
        notes.append("most of the index is cosines of all directions, which grow with the features squared")
    return tuple(notes)


def _remedy(stage: str) -> str:
    """What to change when the stage does not fit."""
    if stage == "train":
        return "train fewer features, or take more devices or larger ones"
    if stage == "index":
        return "take devices with more memory: each holds the whole dictionary"
    return "take devices with more memory: each holds the whole model"


def _source_note(place: Place) -> str:
    """Where the rates come from."""
    hardware = place.hardware
    if hardware is None:
        return (
            "rates were measured on this machine (bathyscope plan --calibrate measures them again), but those of "
            "tokenising and between processes, which are presumed"
        )
    peak, memory = hardware.tflops[place.compute], hardware.memory_gb_per_second
    return (
        f"rates are not measured: {hardware.product_share:g} of {peak:g} TFLOP/s ({place.compute}) and "
        f"{hardware.memory_share:g} of {memory:,g} GB/s, from the data sheet; those of processor and disk are presumed"
    )
