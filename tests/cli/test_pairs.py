"""`bathyscope pairs` and `counterfactuals`: a folder from a set, a file or a template; bad input in one line."""

import json
from collections.abc import Mapping, Sequence

import pytest
from tiny import tiny_model

from bathyscope.activations.pairs.counterfactuals import Ask, write_counterfactuals
from bathyscope.activations.pairs.store import PairStore
from bathyscope.activations.text import Texts
from bathyscope.cli import main
from bathyscope.cli.who import EndpointSettings, answerer
from bathyscope.models.writers.endpoint import EndpointWriter
from bathyscope.models.writers.writer import Answer


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny = tiny_model()
    tiny.network.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return str(folder)


def pairs(model: str, out, *words: str) -> list[str]:
    return ["pairs", "--out", str(out), "--model", model, "--hookpoint", "layers.1", *words]


def test_a_named_set_becomes_a_folder_and_its_warnings_are_printed(model, tmp_path, capsys):
    assert main(pairs(model, tmp_path / "a", "--set", "binary", "--n", "24", "--position", "mean")) == 0
    said = capsys.readouterr().out
    assert "warning: layers.1: 24 pairs in 32 dimensions" in said and "factors" in said
    store = PairStore(tmp_path / "a")
    assert store.n_pairs == 24 and store.position == "mean" and store.factors == ("language", "gender")


def test_a_file_of_pairs_becomes_a_folder(model, tmp_path, capsys):
    file = tmp_path / "mine.jsonl"
    rows = [{"before": f"a red {x}", "after": f"a blue {x}", "changed": ["colour"]} for x in ("box", "cup")]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(pairs(model, tmp_path / "a", "--jsonl", str(file), "--json")) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["n pairs"] == 2 and result["warnings"]
    assert PairStore(tmp_path / "a").pairs[1].source == "mine.jsonl, line 2"


def test_a_folder_of_counterfactuals_becomes_a_folder_that_names_its_parent(model, tmp_path):
    asks = [Ask(factor="tense", instruction="Put it into the past.")]
    texts = Texts([f"We walk to pier {i}." for i in range(3)])
    written = write_counterfactuals(texts, asks, Rule(), out=tmp_path / "written").path
    assert main(pairs(model, tmp_path / "a", "--jsonl", str(written))) == 0
    store = PairStore(tmp_path / "a")
    assert store.manifest.parents["counterfactuals"]["kind"] == "counterfactuals"
    assert store.factors == ("tense",) and store.materials[0]["name"] == "texts in memory"


class Rule:
    """A writer that puts texts into the past."""

    identity: Mapping[str, str | float] = {"writer": "rule"}
    materials: tuple[Mapping[str, str], ...] = ()

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        return [Answer(prompt.partition("Text: ")[2].replace("walk", "walked"), True) for prompt in prompts]


def test_the_sets_are_listed_without_a_folder(capsys):
    assert main(["pairs", "--list"]) == 0
    assert "BINARY(2,2)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "no pairs given; name one of --set, --jsonl, --template (--list: the sets)"),
        (("--set", "binary", "--jsonl", "x"), "--set and --jsonl given; name one of"),
        (("--set", "binry"), "no pair set is named 'binry'; nearest: binary"),
        (("--jsonl", "none.jsonl"), "no file of pairs at none.jsonl"),
        (("--template", "none.toml"), "no template at none.toml"),
        (("--jsonl", "none.jsonl", "--n", "3"), "a file of pairs is taken whole"),
        (("--set", "binary", "--n", "1"), "1 pairs for 2 factors"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(model, tmp_path, capsys, words, line):
    assert main(pairs(model, tmp_path / "a", *words)) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith("error: ") and line in said[-1]
    assert not (tmp_path / "a").exists() and not (tmp_path / "a.partial").exists()


def test_no_folder_is_refused(capsys):
    assert main(["pairs", "--set", "binary"]) == 2
    assert "name one to write with --out" in capsys.readouterr().err


def test_a_change_without_a_factor_is_refused(tmp_path, capsys):
    words = ["--text", "x.txt", "--ask", "Put it into the past.", "local"]
    assert main(["counterfactuals", "--out", str(tmp_path / "a"), *words]) == 2
    assert "names no factor; write it as factor=instruction" in capsys.readouterr().err


def test_a_local_model_rewrites_texts(model, tmp_path, capsys):
    (tmp_path / "texts").mkdir()
    for i in range(3):
        (tmp_path / "texts" / f"{i}.txt").write_text(f"walk {i}")
    (tmp_path / "prompt.txt").write_text("{instruction} {text}")
    words = ["--text", str(tmp_path / "texts"), "--ask", "tense=Past.", "--prompt", str(tmp_path / "prompt.txt")]
    code = main(["counterfactuals", "--out", str(tmp_path / "a"), *words, "local", "--model", model])
    captured = capsys.readouterr()
    assert code == 0 or "no answer is usable (3 cut off)" in captured.err, "random weights seldom end an answer"


def test_the_endpoint_is_asked_as_the_options_say(monkeypatch):
    monkeypatch.setenv("SOME_KEY", "tell-nobody")
    place = EndpointSettings(
        url="https://example.com/v1",
        name="m",
        key_variable="SOME_KEY",
        max_new_tokens=9,
        temperature=0.5,
        timeout_seconds=3.0,
    )
    assert answerer(place, seed=0) == EndpointWriter(
        url=place.url, name="m", key_variable="SOME_KEY", max_new_tokens=9, temperature=0.5, timeout_seconds=3.0
    )
