"""Hardware: listed by name, one's own from a file, and rates from peaks and shares."""

import dataclasses
import json

import pytest

from bathyscope.config import to_json
from bathyscope.errors import ConfigError
from bathyscope.planning.hardware import HOST_SORTS, Hardware, hardware_of, known

OWN = Hardware(
    device="cuda",
    memory_gb=10.0,
    tflops={"float32": 2.0, "bfloat16": 8.0},
    memory_gb_per_second=100.0,
    product_share=0.25,
    memory_share=0.5,
    devices_per_node=2,
    link_gb_per_second=20.0,
    network_gb_per_second=3.0,
    steps_per_second=7.0,
)


def test_rates_are_shares_of_peaks_and_the_link_is_that_of_the_slowest_hop():
    inside, across = OWN.rates("bfloat16", devices=2).per_second, OWN.rates("float32", devices=3).per_second
    assert (inside["product"], across["product"]) == (0.25 * 8e12, 0.25 * 2e12)
    assert inside["scan"] == inside["weights"] == inside["pairs"] == 50e9
    assert (inside["link"], across["link"], inside["step"]) == (20e9, 3e9, 7.0)


def test_the_host_is_that_of_a_plain_server_unless_it_is_given():
    plain = OWN.rates("float32", devices=1).per_second
    own = dataclasses.replace(OWN, host={"write": 5.0}).rates("float32", devices=1).per_second
    assert own == {**plain, "write": 5.0}
    assert all(plain[sort] != 50e9 for sort in HOST_SORTS)


@pytest.mark.parametrize("name", known())
def test_every_listed_device_can_be_read_and_reckons_in_its_best_type(name):
    found = hardware_of(name)
    rates = found.rates(found.best_compute, devices=1)
    assert rates.per_second["product"] == found.product_share * max(found.tflops.values()) * 1e12
    assert found.best_compute == ("float32" if found.device == "cpu" else "bfloat16")


def test_ones_own_hardware_is_a_json_file(tmp_path):
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(to_json(OWN)))
    assert hardware_of(str(file)) == OWN
    file.write_text(json.dumps({**to_json(OWN), "watts": 3}))
    with pytest.raises(ConfigError, match=r"mine\.json: Hardware has no setting named watts"):
        hardware_of(str(file))


def test_unknown_hardware_is_refused_with_the_names():
    with pytest.raises(ConfigError, match=r"no hardware is called 'TPU': expected this, A100-80GB, .* JSON file"):
        hardware_of("TPU")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"tflops": {"int4": 1.0}}, "tflops are of int4"),
        ({"tflops": {}}, "tflops are of nothing"),
        ({"product_share": 1.5}, "product_share is 1.5"),
        ({"memory_share": 0.0}, "memory_share is 0.0"),
        ({"devices_per_node": 0}, "devices_per_node is 0"),
        ({"host": {"link": 1.0}}, "host says how fast link is"),
    ],
)
def test_hardware_that_makes_no_sense_is_refused(change, match):
    with pytest.raises(ConfigError, match=match):
        dataclasses.replace(OWN, **change)


def test_a_type_without_a_peak_is_refused():
    with pytest.raises(ConfigError, match="no peak for bfloat16, only for float32"):
        dataclasses.replace(OWN, tflops={"float32": 1.0}).rates("bfloat16", devices=1)
