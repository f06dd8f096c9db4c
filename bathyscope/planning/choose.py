"""Which layout work is given: batch, devices and how they split it, and whether activations are kept."""

from bathyscope.planning.calibration import THIS
from bathyscope.planning.hardware import ELEMENT_BYTES, Compute
from bathyscope.planning.layout import Layout, splits
from bathyscope.planning.place import Place
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.sizes import Sizes
from bathyscope.planning.stages import collect, train
from bathyscope.planning.work import Rates, total_seconds

MOST_DEVICES = 1 << 14
LEAST_BATCH, MOST_BATCH = 1024, 65_536
LEAST_GAIN = 0.95
"""Twice the devices must bring the time below this share."""
OUTWEIGHS = 2.0
"""Products of a step should take so many times as long as passes over the weights."""


def choose_layout(sizes: Sizes, place: Place, settings: PlanSettings) -> Layout:
    """The fastest split of the devices asked for; else of the fewest that hold training, or that meet its hours.

    Hours that no number of devices meets are missed by as many devices as still gain something.
    """
    if settings.devices is not None or settings.hardware == THIS:
        return _fastest(sizes, place, settings, devices=settings.devices or 1)
    devices, layout = 1, _fastest(sizes, place, settings, devices=1)
    while devices < MOST_DEVICES and train.memory_bytes(sizes, layout) > place.device_bytes:
        devices *= 2
        layout = _fastest(sizes, place, settings, devices=devices)
    seconds = total_seconds(train.parts(sizes, layout, place.rates(devices)))
    while settings.within_hours is not None and seconds > 3600 * settings.within_hours and devices < MOST_DEVICES:
        devices *= 2
        more = _fastest(sizes, place, settings, devices=devices)
        quicker = total_seconds(train.parts(sizes, more, place.rates(devices)))
        if quicker > LEAST_GAIN * seconds:
            return layout
        layout, seconds = more, quicker
    return layout


def _fastest(sizes: Sizes, place: Place, settings: PlanSettings, *, devices: int) -> Layout:
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
            device=place.device,
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
