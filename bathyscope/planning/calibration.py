"""`Calibration`: how fast this machine does each sort of work, measured once and kept in the user's cache folder.

The file holds rates, the versions of what made them and the number of threads; when one of these differs it is
measured again. It never enters an artifact.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bathyscope import runtime
from bathyscope.config import from_json, to_json
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import read_json, write_atomic
from bathyscope.planning.work import Rates

log = logging.getLogger(__name__)

THIS = "this"
FILE = "calibration.json"
SCHEMA = 2
LINK_BYTES_PER_SECOND = 1e9
"""Between processes of one machine; stated, not measured: a plan for this machine has one process."""
TOKENS_PER_SECOND = 3e5
"""Text tokenised by one core; stated, not measured: it depends on the tokenizer, and forwards outweigh it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """What this machine does in a second."""

    schema: int
    """Version of this file."""
    environment: Mapping[str, str]
    """Versions of what was measured."""
    threads: int
    """Threads that shared the work."""
    rates: Rates
    """Sort of work → amount a second."""
    seconds: float
    """How long it took to measure."""


def calibrate() -> Calibration:
    """Measure this machine in about half a minute, and keep the rates in the cache folder.

    Other work on the machine makes every figure smaller: calibrate when it is quiet. Raises ArtifactError or
    DeviceError when the cache folder cannot be written.
    """
    from bathyscope.planning.measure.machine import measured

    rates, seconds = measured()
    found = Calibration(
        schema=SCHEMA,
        environment=runtime.environment(),
        threads=_threads(),
        rates=Rates(per_second={**rates, "link": LINK_BYTES_PER_SECOND, "tokenise": TOKENS_PER_SECOND}),
        seconds=round(seconds, 1),
    )
    file = _file()
    with runtime.disk_errors(file, doing="write"):
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(file, json.dumps(to_json(found), indent=1, sort_keys=True).encode())
    return found


def calibration() -> Calibration:
    """The kept calibration of this machine as it is now, or a new one."""
    return kept() or calibrate()


def kept() -> Calibration | None:
    """The calibration in the cache folder; None when there is none of these versions and threads."""
    file = _file()
    if not file.is_file():
        return None
    try:
        found = from_json(Calibration, read_json(file), where=file.name)
    except (ArtifactError, ConfigError) as error:
        log.warning("%s is measured again: %s", file.name, error)
        return None
    if found.schema != SCHEMA or found.environment != runtime.environment() or found.threads != _threads():
        log.info("%s is of other versions or threads: this machine is measured again", file.name)
        return None
    return found


def _file() -> Path:
    return runtime.cache_folder() / FILE


def _threads() -> int:
    import torch

    return torch.get_num_threads()
