"""The bench, whole, on narrow networks: every study has its table, and it goes on where it was stopped."""

import dataclasses
import math

import pytest

from bathyscope import artifacts
from bathyscope.errors import ConfigError
from bathyscope.risk.layerwise import bench as room
from bathyscope.risk.layerwise.bench import TABLE, LayerwiseBench, bench_layerwise
from bathyscope.risk.layerwise.claim_study import LOSS
from bathyscope.risk.layerwise.clock import seconds_of
from bathyscope.risk.layerwise.mean_study import BROKE, CONTROL, ERROR, GAIN, PLAIN, SAMPLES
from bathyscope.risk.layerwise.tail_study import COVERED, OUTSIDE, POOLED, SERIES, TILTED

SETTINGS = LayerwiseBench(
    width=16,
    seeds=(0, 1),
    turns=1,
    depths=(2,),
    gelu_depths=(2,),
    truth_layers=2**14,
    tail_layers=1,
    thresholds=(2.0,),
    tail_truth=2**15,
    tail_inputs=2**13,
    n_matrices=2,
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    out = tmp_path_factory.mktemp("bench") / "layerwise"
    return out, bench_layerwise(SETTINGS, out=out)


def figure(rows, split, subject, metric):
    (row,) = [row for row in rows if (row.split, row.subject, row.metric) == (split, subject, metric)]
    return row


def test_every_study_has_its_table(made):
    out, _ = made
    heads = [line for line in (out / TABLE).read_text().splitlines() if line.startswith("## ")]
    assert heads == [
        "## Means, 2 hidden relu layers",
        "## Means, 2 hidden gelu layers",
        "## Outputs above 2",
        *(f"## Terms kept: {n} outputs, {share} of the terms" for n in (4, 16) for share in ("10%", "25%", "50%")),
        "## Half-spaces",
    ]
    artifacts.verify(out)


def test_figures_say_what_they_should(made):
    _, rows = made
    means = "means, 2 hidden relu layers"
    assert figure(rows, means, "order 1", ERROR).value > figure(rows, means, "order 3", ERROR).value
    assert math.isclose(figure(rows, means, PLAIN, GAIN).value, 1, rel_tol=0.5)
    assert figure(rows, means, CONTROL, SAMPLES).value > figure(rows, means, PLAIN, SAMPLES).value
    assert figure(rows, means, "order 3", BROKE).value == 0
    above = "outputs above 2"
    assert all(figure(rows, above, name, OUTSIDE).value == 0 for name in ("order 2", "order 3", POOLED))
    assert figure(rows, above, SERIES, OUTSIDE).n == 2
    assert 0.5 < figure(rows, above, TILTED, COVERED).value <= 1
    few = "terms kept: 4 outputs, 25% of the terms"
    assert figure(rows, few, "claims", LOSS).value < figure(rows, few, "chance", LOSS).value


def test_a_finished_bench_is_read_not_made_again(made, monkeypatch):
    out, rows = made
    monkeypatch.setattr(room, "study_tails", lambda *a, **k: pytest.fail("made again"))
    assert bench_layerwise(SETTINGS, out=out) == rows


def test_a_stopped_bench_goes_on_after_the_last_finished_part(tmp_path, monkeypatch):
    settings = dataclasses.replace(SETTINGS, seeds=(0,), depths=(), gelu_depths=())
    monkeypatch.setattr(room, "study_tails", _stop)
    with pytest.raises(KeyboardInterrupt):
        bench_layerwise(settings, out=tmp_path / "out")
    monkeypatch.undo()
    monkeypatch.setattr(room, "study_halfspaces", lambda *a, **k: pytest.fail("made again"))
    assert {row.split for row in bench_layerwise(settings, out=tmp_path / "out")} >= {"half-spaces", "outputs above 2"}


def _stop(*_, **__):
    raise KeyboardInterrupt


def test_quick_is_written_out_before_the_recipe_is_made():
    quick = LayerwiseBench(quick=True).resolved()
    assert not quick.quick
    assert quick.width < LayerwiseBench().width
    assert LayerwiseBench().resolved() == LayerwiseBench()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"width": 0}, "width is 0"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "expected different ones"),
        ({"depths": (4, 0)}, "depths"),
    ],
)
def test_settings_that_mean_nothing_are_refused(changes, named):
    with pytest.raises(ConfigError, match=named):
        LayerwiseBench(**changes)


def test_the_clock_takes_turns_and_leaves_the_first_round_out():
    seen = []
    taken = seconds_of({"one": lambda: seen.append(1), "two": lambda: seen.append(2)}, turns=3)
    assert seen == [1, 2] * 4
    assert all(each.wall >= 0 and each.cpu >= 0 for each in taken.values())
