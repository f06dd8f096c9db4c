"""Rates that are easy to divide by, and a machine that was calibrated with them."""

import dataclasses
import json
from pathlib import Path

import pytest

from bathyscope import runtime
from bathyscope.config import to_json
from bathyscope.planning.calibration import FILE, SCHEMA, Calibration
from bathyscope.planning.work import SORTS, Rates

ROUND = Rates(per_second={**dict.fromkeys(SORTS, 1e9), "product": 1e11, "step": 100.0, "examples": 1e3})


def calibrated_machine(monkeypatch: pytest.MonkeyPatch, folder: Path, rates: Rates = ROUND, **changes) -> Calibration:
    """This machine, with its calibration in `folder`."""
    import torch

    monkeypatch.setenv("BATHYSCOPE_CACHE", str(folder))
    one = Calibration(
        schema=SCHEMA, environment=runtime.environment(), threads=torch.get_num_threads(), rates=rates, seconds=1.0
    )
    one = dataclasses.replace(one, **changes)
    (folder / FILE).write_text(json.dumps(to_json(one)))
    return one
