"""The shifts bench at a small size: what it writes, that it resumes, and that its controls fail."""

import dataclasses

import pytest

from bathyscope.artifacts import verify
from bathyscope.errors import ConfigError
from bathyscope.evaluation import shift_bench
from bathyscope.evaluation.shift_bench import (
    CASES,
    FREE,
    ORACLE,
    OURS,
    RANDOM,
    VARIANTS,
    ShiftBench,
    ShiftCase,
    bench_shifts,
)
from bathyscope.evaluation.worlds.shifts import ShiftWorldSettings

WORLD = ShiftWorldSettings(n_concepts=6, d_model=8, max_changed=3)
SMALL = {
    "30 concepts": ShiftCase(world=WORLD, with_variants=True),
    "dense": ShiftCase(world=dataclasses.replace(WORLD, supports="dense"), with_evidence=False),
    "two by two": ShiftCase(world=dataclasses.replace(WORLD, supports="together"), with_evidence=False),
}
TINY = ShiftBench(
    cases=tuple(SMALL), n_pairs=1500, test_pairs=1000, seeds=(0, 1), n_restarts=2, n_steps=40, free_steps=300
)


@pytest.fixture
def in_this_process(monkeypatch):
    ran: list[str] = []

    def run(function, runs, *, stage):
        for each in runs:
            ran.append(f"{each.case} · {each.seed}")
            if len(ran) == 3:
                ran.append("interrupted")
                raise KeyboardInterrupt
            yield each, function(each)

    monkeypatch.setattr(shift_bench, "CASES", SMALL)
    monkeypatch.setattr(shift_bench, "side_by_side", run)
    return ran


def test_the_bench_resumes_and_tells_the_identifiable_from_the_rest(in_this_process, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        bench_shifts(TINY, out=tmp_path / "resumed")
    rows = bench_shifts(TINY, out=tmp_path / "resumed")
    assert in_this_process[4:] == ["dense · 0", "dense · 1", "two by two · 0", "two by two · 1"]
    verify(tmp_path / "resumed")
    value = {(row.subject, row.metric): row.value for row in rows}
    assert value[f"30 concepts: {OURS}", "mcc"] > 0.98
    assert value[f"30 concepts: {FREE}", "mcc"] < 0.85 and value[f"30 concepts: {RANDOM}", "mcc"] < 0.85
    assert value[f"30 concepts: {OURS}", "real columns"] == 1
    assert value[f"dense: {ORACLE}", "mcc"] > 0.999, "what is there to be read, though nothing tells it"
    assert value[f"dense: {OURS}", "mcc"] < 0.85
    assert value[f"two by two: {OURS}", "block mcc"] >= value[f"two by two: {OURS}", "mcc"] - 1e-6
    assert all((f"30 concepts: {name}", "mcc") in value for name in VARIANTS)
    assert not any((f"dense: {name}", "mcc") in value for name in VARIANTS)
    table = (tmp_path / "resumed" / "table.md").read_text()
    assert f"| dense | not identifiable | {OURS} |" in table and f"| 30 concepts | identifiable | {OURS} |" in table


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"cases": ("nowhere",)}, "no world named 'nowhere'; expected some of: 30 concepts"),
        ({"seeds": ()}, "seeds at least one"),
        ({"seeds": (1, 1)}, "repeat"),
        ({"n_pairs": 0}, "at least 1"),
    ],
)
def test_impossible_settings_are_refused_by_name(settings, line):
    with pytest.raises(ConfigError, match=line):
        ShiftBench(**settings)


def test_the_worlds_are_those_of_the_documents():
    assert CASES["30 concepts"].world == ShiftWorldSettings(n_concepts=30, d_model=64, max_changed=5)
    assert (CASES["square"].world.n_concepts, CASES["square"].world.d_model) == (10, 10)
    assert (CASES["100 concepts"].world.n_concepts, CASES["100 concepts"].world.d_model) == (100, 256)
