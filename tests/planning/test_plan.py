"""Whole plans: sums, layouts, what does not fit, and the same again from JSON."""

import dataclasses
import json

import pytest
from planning.rates import ROUND, calibrated_machine

from bathyscope import runtime
from bathyscope.config import from_json, to_json
from bathyscope.errors import ConfigError, ModelError
from bathyscope.planning.amounts import bytes_text, duration
from bathyscope.planning.plan import Plan, plan
from bathyscope.planning.settings import PlanSettings
from bathyscope.planning.table import as_table

LARGE = PlanSettings(
    model="google/gemma-2-2b",
    hookpoint=("layers.12",),
    n_features=131_072,
    k=64,
    tokens=1_000_000_000,
    epochs=1,
    context=1024,
    hardware="H100-80GB",
)
HUGE = dataclasses.replace(
    LARGE,
    model="meta-llama/Llama-3.1-8B",
    hookpoint=("layers.16",),
    n_features=34_000_000,
    tokens=8_000_000_000,
)


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    calibrated_machine(monkeypatch, tmp_path)


def test_the_whole_is_the_sum_of_its_parts():
    found = plan(LARGE)
    assert [stage.name for stage in found.stages] == ["collect", "train", "index", "risk"]
    for stage in found.stages:
        assert stage.seconds == pytest.approx(sum(part.seconds for part in stage.parts))
        for part in stage.parts:
            assert part.seconds == pytest.approx(part.amount / found.rates.per_second[part.sort])
    assert found.seconds == pytest.approx(sum(stage.seconds for stage in found.stages))


def test_a_plan_comes_back_from_json_as_it_was():
    found = plan(LARGE)
    assert from_json(Plan, json.loads(json.dumps(to_json(found)))) == found


def test_this_machine_is_one_device_with_the_rates_that_were_measured():
    found = plan()
    assert found.layout.devices == 1 and found.layout.compute == "float32"
    assert found.rates == ROUND
    assert found.stage("train").fits
    assert any("measured on this machine" in note for note in found.notes)


def test_small_work_takes_one_device_and_keeps_its_activations():
    found = plan(LARGE)
    assert found.layout.devices == 1 and found.layout.keeps_activations and found.fits
    assert 1 < found.stage("train").seconds / 3600 < 10
    assert 4e12 < found.stage("collect").disk_bytes < 6e12


def test_34_million_features_are_spread_over_many_devices_and_activations_made_anew():
    found = plan(HUGE)
    weights = 4 * 2 * 34_000_000 * 4096
    assert found.layout.feature_parallel * found.device_bytes > 4 * weights
    assert found.stage("train").fits and found.stage("train").memory_bytes < 80e9
    assert not found.layout.keeps_activations
    assert any("65.7 TB" in note and "10.0 TB" in note for note in found.notes)
    with pytest.raises(ConfigError, match="no stage 'collect', only train, index, risk"):
        found.stage("collect")


def test_too_few_devices_are_said_with_the_numbers():
    found = plan(dataclasses.replace(HUGE, devices=8))
    assert not found.fits
    note = next(note for note in found.notes if note.startswith("train does not fit"))
    assert " a device are needed, 73.6 GB can be used" in note and "more devices" in note
    assert found.layout.feature_parallel == 8, "the split that needs least"


def test_hours_are_met_with_more_devices():
    slow, quick = plan(LARGE), plan(dataclasses.replace(LARGE, within_hours=0.5))
    assert quick.layout.devices > slow.layout.devices
    assert quick.stage("train").seconds <= 1800 < slow.stage("train").seconds


def test_hours_that_nothing_meets_are_said_and_no_device_is_taken_for_nothing():
    found = plan(dataclasses.replace(LARGE, within_hours=0.001))
    assert any(note.endswith("h, not 0.001: more devices gain nothing") for note in found.notes)
    half = plan(dataclasses.replace(LARGE, devices=found.layout.devices // 2))
    assert found.stage("train").seconds <= 0.95 * half.stage("train").seconds


def test_room_on_the_disk_decides_whether_activations_are_kept():
    assert not plan(dataclasses.replace(LARGE, disk_gb=4000.0)).layout.keeps_activations
    assert plan(dataclasses.replace(HUGE, disk_gb=100_000.0)).layout.keeps_activations


@pytest.mark.parametrize("field", ["n_features", "tokens", "epochs", "k", "context"])
def test_more_work_takes_longer_and_no_less_memory(field):
    fixed = dataclasses.replace(LARGE, devices=4, batch_size=4096)
    less, more = plan(fixed), plan(dataclasses.replace(fixed, **{field: 2 * getattr(fixed, field)}))
    assert more.seconds > less.seconds
    assert more.stage("train").memory_bytes >= less.stage("train").memory_bytes


def test_the_batch_is_the_smallest_at_which_products_outweigh_the_weights():
    found = plan(LARGE).layout.batch_size
    assert found & (found - 1) == 0

    def seconds(batch_size: int) -> dict[str, float]:
        parts = plan(dataclasses.replace(LARGE, batch_size=batch_size, devices=1)).stage("train").parts
        return {part.name: part.seconds for part in parts}

    at, below = seconds(found), seconds(found // 2)
    assert at["step: encoder product"] >= 2 * at["step: weights and Adam"]
    assert below["step: encoder product"] < 2 * below["step: weights and Adam"]


def test_a_disk_that_cannot_hold_the_dictionary_is_said():
    found = plan(dataclasses.replace(HUGE, disk_gb=100.0))
    assert any("checkpoints take 7.8 TB of disk, there are 100.0 GB" in note for note in found.notes)


def test_splits_that_would_cut_a_feature_are_not_taken():
    tiny = PlanSettings(n_features=4, k=2, hardware="H100-80GB", devices=16)
    assert plan(tiny).layout.feature_parallel <= 4


def test_too_little_memory_here_is_said(monkeypatch):
    monkeypatch.setattr(runtime, "free_memory_bytes", lambda: 10_000_000)
    found = plan()
    assert not found.fits and any(
        note.startswith("train does not fit: ") and "10.0 MB can be used" in note for note in found.notes
    )


@pytest.mark.parametrize(
    ("change", "kind", "match"),
    [
        ({"hardware": "abacus"}, ConfigError, "no hardware is called 'abacus'"),
        ({"model": "nobody/nothing"}, ModelError, "not known"),
        ({"hookpoint": ("layers.99",)}, ModelError, "there is no layers.99"),
        ({"hardware": "laptop-cpu", "compute": "bfloat16"}, ConfigError, "no peak for bfloat16"),
        ({"hardware": "this", "compute": "bfloat16"}, ConfigError, "reckons in float32"),
        ({"hardware": "this", "devices": 2}, ConfigError, "one device"),
        ({"hardware": "this", "within_hours": 2.0}, ConfigError, "leave out devices, within_hours"),
    ],
)
def test_what_cannot_be_planned_is_refused(change, kind, match):
    with pytest.raises(kind, match=match):
        plan(dataclasses.replace(LARGE, **change))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tokens": 0}, "tokens is 0"),
        ({"devices": 0}, "devices is 0"),
        ({"within_hours": -1.0}, "within_hours is -1.0"),
        ({"within_hours": 1.0, "devices": 2}, "exclude each other"),
        ({"k": 5000}, "k is 5000, more than the 4608 features"),
        ({"hookpoint": ()}, "no hookpoint"),
    ],
)
def test_settings_out_of_range_are_refused(change, match):
    with pytest.raises(ConfigError, match=match):
        PlanSettings(**change)


def test_the_table_has_a_line_for_each_stage_and_with_parts_for_each_part():
    found = plan(dataclasses.replace(HUGE, devices=8))
    text = as_table(found, parts=True)
    assert "34,000,000 features" in text and "8 device(s) (1 data × 8 feature parallel)" in text
    assert "(too much)" in next(line for line in text.splitlines() if line.startswith("| train |"))
    for stage in found.stages:
        rows = [line for line in text.splitlines() if line.startswith(f"| {stage.name} |")]
        assert len(rows) == 1 + len(stage.parts)
    assert all(f"- {note}" in text for note in found.notes)
    assert len(as_table(found).splitlines()) < len(text.splitlines())


def test_seconds_and_bytes_read_in_their_unit():
    assert [duration(s) for s in (1, 119, 120, 7200, 3e5)] == ["1.0 s", "119.0 s", "2.0 min", "2.0 h", "3.5 days"]
    assert [bytes_text(n) for n in (10, 2e6, 3.25e9, 8e12)] == ["0.0 kB", "2.0 MB", "3.2 GB", "8.0 TB"]
