"""The table of methods."""

from bathyscope.evaluation.intervals import Interval
from bathyscope.evaluation.scores import Score, score
from bathyscope.evaluation.steering.judges.judge import ASPECTS
from bathyscope.evaluation.steering.table import table


def rows_of(method: str, value: float) -> list[Score]:
    interval = Interval(value=value, low=value, high=value, n=3)
    return [score(method, f"{name} · words", interval, unit="concepts", split="report") for name in ("score", *ASPECTS)]


def test_methods_stand_by_score_and_equal_ones_as_they_came():
    names = ["zebra", "ant", "plain", "mole", "bee", "cat"]  # a set of them would have another order in each process
    rows = [row for name in names for row in rows_of(name, 0.5 if name == "mole" else 0.0)]
    lines = table(rows, nulls=frozenset(), chosen={}).splitlines()
    found = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.split(" | ")[0][2:] in names]
    assert found[: len(names)] == ["mole", "zebra", "ant", "plain", "bee", "cat"]
