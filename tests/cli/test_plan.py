"""`bathyscope plan` on the terminal and as JSON."""

import json

import pytest
from planning.rates import calibrated_machine

from bathyscope.cli import main
from bathyscope.cli import plan as command
from bathyscope.config import from_json
from bathyscope.planning.plan import Plan

NAMED = ["plan", "--model", "google/gemma-2-2b", "--hookpoint", "layers.12", "--hardware", "A100-80GB"]


def test_a_plan_is_a_table_on_the_terminal(capsys):
    assert main([*NAMED, "--n-features", "65536", "--k", "64", "--tokens", "50000000", "--epochs", "1"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("google/gemma-2-2b, 65,536 features, k 64, 50,000,000 tokens × 1 on A100-80GB")
    assert [line.split("|")[1].strip() for line in out.splitlines() if line.startswith("| ")] == [
        "stage",
        "collect",
        "train",
        "index",
        "risk",
        "all",
    ]


def test_as_json_it_is_one_object_that_holds_the_whole_plan(capsys):
    assert main([*NAMED, "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    found = json.loads(line)
    plan = from_json(Plan, found["plan"])
    assert found["stages"]["train"]["hours"] == plan.stage("train").seconds / 3600
    assert found["fits"] is plan.fits


def test_calibrating_comes_first_when_it_is_asked_for(monkeypatch, tmp_path, capsys):
    calibrated_machine(monkeypatch, tmp_path)
    order: list[str] = []
    monkeypatch.setattr(command, "calibrate", lambda: order.append("calibrate"))
    assert main(["plan"]) == 0 and order == []
    assert main(["plan", "--calibrate", "--parts"]) == 0 and order == ["calibrate"]
    assert "step: encoder product" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--hardware", "abacus"], "no hardware is called 'abacus'"),
        (["--model", "nobody/nothing"], "the sizes of 'nobody/nothing' are not known"),
        (["--tokens", "0"], "tokens is 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(words, said, capsys):
    assert main([*NAMED, *words]) == 2
    err = capsys.readouterr().err
    assert said in err and len(err.splitlines()) == 1
