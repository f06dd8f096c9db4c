"""The kept calibration: read when it is of this machine as it is, made again when not."""

import json

import pytest
from planning.rates import ROUND, calibrated_machine

from bathyscope.config import from_json
from bathyscope.planning import calibration
from bathyscope.planning.calibration import FILE, Calibration
from bathyscope.planning.measure import machine
from bathyscope.planning.work import SORTS


@pytest.fixture
def measured(monkeypatch) -> list[int]:
    """Measuring gives rates of 2 at once; the list counts how often."""
    calls: list[int] = []

    def stand_in():
        calls.append(1)
        return dict.fromkeys((sort for sort in SORTS if sort not in ("link", "tokenise")), 2.0), 0.5

    monkeypatch.setattr(machine, "measured", stand_in)
    return calls


def test_a_calibration_of_these_versions_and_threads_is_read(monkeypatch, tmp_path, measured):
    one = calibrated_machine(monkeypatch, tmp_path)
    assert calibration.calibration() == one and measured == []


def test_a_machine_that_was_never_calibrated_is_and_the_file_is_kept(monkeypatch, tmp_path, measured):
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "new"))
    first = calibration.calibration()
    assert first == calibration.calibration() and measured == [1]
    assert first.rates.per_second["scan"] == 2.0
    assert from_json(Calibration, json.loads((tmp_path / "new" / FILE).read_bytes())) == first


@pytest.mark.parametrize("change", [{"threads": 99}, {"schema": 0}, {"environment": {"torch": "0.1"}}])
def test_another_version_or_number_of_threads_is_measured_again(monkeypatch, tmp_path, measured, change):
    calibrated_machine(monkeypatch, tmp_path, **change)
    assert calibration.calibration().rates != ROUND and measured == [1]


@pytest.mark.parametrize("content", ["{", "{}", '{"schema": "one"}'])
def test_a_damaged_file_is_measured_again_and_said(monkeypatch, tmp_path, measured, content, caplog):
    calibrated_machine(monkeypatch, tmp_path)
    (tmp_path / FILE).write_text(content)
    assert calibration.kept() is None
    assert f"{FILE} is measured again" in caplog.text
