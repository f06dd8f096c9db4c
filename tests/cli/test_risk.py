"""`bathyscope risk`: from a file to estimates and a picture; bad input in one line."""

import json

import pytest
from tiny import tiny_model

from bathyscope.cli import main
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
    assert "90% interval" in said
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
        (("--methods", "magic"), "name each once, of auto, naive"),
        (("--methods", "naive", "naive"), "name each once"),
        (("--methods", "ITGIS"), "needs independent positions of one token each"),
        (("--forward", "0"), "buys nothing"),
        (("--level", "2.0"), "level is 2.0"),
        (("--methods", "splitting", "--forward", "100"), "forwards"),
    ],
)
def test_bad_use_is_one_line(more, reason, problem, tmp_path, capsys):
    assert main([*words(problem, tmp_path / "run"), *more]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()
