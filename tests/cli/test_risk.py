"""`bathyscope risk`: from a file to estimates and a picture; bad input in one line."""

import json
import os
import signal

import pytest
from tiny import tiny_model

from bathyscope.cli import main
from bathyscope.risk import run
from bathyscope.risk.estimates import read_estimates


@pytest.fixture(scope="module", name="problem")
def _problem(tmp_path_factory):
    folder = tmp_path_factory.mktemp("problems")
    tiny = tiny_model()
    tiny.network.save_pretrained(folder / "model")
    tiny.tokenizer.save_pretrained(folder / "model")
    file = folder / "problem.toml"
    file.write_text(
        f"model = {json.dumps(str(folder / 'model'))}\n[inputs]\nkind = 'slots'\nchat = false\n"
        "text = '{a}{b}{c}'\n"
        + "".join(f"fillings.{slot} = {json.dumps(list('abcdefgh'))}\n" for slot in "abc")
        + "[event]\nkind = 'argmax'\ntoken = 97\n"
    )
    return file


def words(problem, out, *more):
    return ["risk", "--problem", str(problem), "--out", str(out), "--forward", "700", *more]


def test_a_problem_becomes_a_row_for_each_method_and_a_picture(problem, tmp_path, capsys):
    assert main(words(problem, tmp_path / "run", "--methods", "naive", "auto", "--level", "0.9")) == 0
    said = capsys.readouterr().out
    assert "naive: P(argmax = 97" in said
    assert "90% interval" in said and "{" not in said
    found = read_estimates(tmp_path / "run")
    assert [one.method for one in found] == ["naive", "auto"]
    assert all(one.cost["spent"] <= 700 for one in found)
    assert (tmp_path / "run" / "ladder.svg").read_text().startswith("<svg")


def test_json_has_one_object_for_each_method_and_a_finished_run_is_read_again(problem, tmp_path, capsys):
    for _ in range(2):
        assert main(words(problem, tmp_path / "run", "--json")) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        results = [line for line in lines if line["event"] == "result"]
        assert len(results) == 1
        assert 0 <= results[0]["estimate"]["low"] <= results[0]["estimate"]["high"] <= 1


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--methods", "magic"), "methods are 'magic': name each once, of 'auto', 'naive'"),
        (("--methods", "naive", "naive"), "name each once"),
        (("--methods", "ITGIS"), "needs independent positions of one token each"),
        (("--forward", "0"), "buys nothing"),
        (("--level", "2.0"), "level is 2.0"),
        (("--seconds", "nan"), "seconds is none"),
        (("--batch-size", "0"), "batch_size is 0"),
        (("--seed", str(2**63)), "expected a whole number from 0"),
        (
            ("--methods", "naive", "splitting", "--forward", "100"),
            "needs 1000 forwards for one level, found 100; raise",
        ),
    ],
)
def test_bad_use_is_one_line(more, reason, problem, tmp_path, capsys):
    assert main([*words(problem, tmp_path / "run"), *more]) == 2
    said = capsys.readouterr()
    assert reason in said.err
    assert said.err.count("\n") == 1 and not said.out
    assert not (tmp_path / "run").exists()


def test_weights_that_are_not_numbers_are_one_line(problem, tmp_path, capsys):
    tiny = tiny_model()
    for parameter in tiny.network.parameters():
        parameter.data.fill_(float("nan"))
    tiny.network.save_pretrained(tmp_path / "model")
    tiny.tokenizer.save_pretrained(tmp_path / "model")
    stated = tmp_path / "problem.toml"
    stated.write_text(problem.read_text().replace(str(problem.parent / "model"), str(tmp_path / "model")))
    assert main(words(stated, tmp_path / "run")) == 2
    assert "model gives NaN for argmax = 97" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_ctrl_c_shows_the_estimate_so_far_and_the_same_command_goes_on(problem, tmp_path, capsys, monkeypatch):
    methods = ("--methods", "naive", "GLD", "auto")
    looks = {"n": 0}
    at = run.Look.at

    def pressed(self, choices_NC, **more):
        looks["n"] += 1
        if looks["n"] == 15:  # naive takes 11 looks
            os.kill(os.getpid(), signal.SIGINT)
        return at(self, choices_NC, **more)

    monkeypatch.setattr(run.Look, "at", pressed)
    assert main(words(problem, tmp_path / "run", *methods)) == 130
    said = capsys.readouterr()
    assert "naive: P(" in said.out and "GLD: P(" in said.out and "auto: P(" not in said.out
    assert "interrupted, by_hand]" in said.out and "run the same command again" in said.err
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(run.Look, "at", at)
    assert main(words(problem, tmp_path / "run", *methods)) == 0
    assert main(words(problem, tmp_path / "undisturbed", *methods)) == 0
    kept, whole = (read_estimates(tmp_path / name) for name in ("run", "undisturbed"))
    assert [one.figures for one in kept] == [one.figures for one in whole]
    assert not any("by_hand" in one.flags for one in kept)
