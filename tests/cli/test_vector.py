"""`bathyscope vector` and `vector-convert`: from texts or pairs to a folder and to files; bad input in one line."""

import json

import pytest
from tiny import tiny_model

from bathyscope.activations.pairs.collect import collect_pairs
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.cli import main
from bathyscope.cli import vector as command
from bathyscope.vectors.exchange import load_vector

QUICK = ("--n-random", "5", "--n-shuffles", "1")


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models") / "model"
    tiny = tiny_model()
    tiny.network.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def texts(tmp_path_factory) -> str:
    file = tmp_path_factory.mktemp("texts") / "numbers.jsonl"
    rows = [{"text": f"{'1234' if n % 2 else 'wind'} {n}", "label": n % 2 == 1} for n in range(48)]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(file)


def test_texts_become_a_vector_and_a_file_of_another_tool(model, texts, tmp_path, capsys):
    words = ["vector", "--out", str(tmp_path / "v"), "--texts", texts, "--model", model, "--hookpoint", "layers.1"]
    assert main([*words, *QUICK, "pca"]) == 0
    said = capsys.readouterr().out
    assert "AUROC · layers.1 · random direction" in said and "norm · layers.1" in said
    convert = ["vector-convert", "--vector", str(tmp_path / "v"), "--out", str(tmp_path / "v.gguf")]
    assert main([*convert, "--format", "gguf", "--strength", "0.5"]) == 0
    assert load_vector(tmp_path / "v.gguf").hookpoints == ("layers.1",)
    back = ["vector-convert", "--vector", str(tmp_path / "v.gguf"), "--out", str(tmp_path / "back"), "--json"]
    assert main(back) == 0
    assert load_vector(tmp_path / "back").origin["imported"] == "gguf"


def test_a_vector_answers_beside_the_plain_model_and_a_random_direction(model, texts, tmp_path, capsys):
    words = ["vector", "--out", str(tmp_path / "v"), "--texts", texts, "--model", model, "--hookpoint", "layers.1"]
    assert main([*words, *QUICK, "diffmean"]) == 0
    capsys.readouterr()
    steer = ["vector-steer", "--vector", str(tmp_path / "v"), "--model", model, "--max-new-tokens", "4"]
    assert main([*steer, "--out", str(tmp_path / "a"), "--prompts", "wind", "--strengths", "2", "-2"]) == 0
    said = capsys.readouterr().out
    assert "[plain]" in said and "[vector at 2 norm]" in said and "[random direction at -2 norm]" in said
    rows = [json.loads(line) for line in (tmp_path / "a" / "trials.jsonl").read_text().splitlines()]
    assert len(rows) == 5
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "--strengths", "0"]) == 2
    assert "other than 0" in capsys.readouterr().err
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "--strengths", "nan"]) == 2
    assert "strengths are (nan,), expected one or more finite numbers" in capsys.readouterr().err
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "--strengths", "1e300"]) == 2
    assert "lower the strength" in capsys.readouterr().err
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "--temperature", "nan"]) == 2
    assert "temperature must be" in capsys.readouterr().err
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "--unit", "length"]) == 2
    assert "has no unit 'length'" in capsys.readouterr().err
    assert main([*steer, "--out", str(tmp_path / "b"), "--prompts", "wind", "wind"]) == 2
    assert not (tmp_path / "b").exists()


def test_pairs_become_a_vector(tmp_path, model, capsys):
    pairs = tuple(Pair(before=f"wind {n}", after=f"1234 {n}") for n in range(24))
    collect_pairs(
        tiny_model(), PairSet(name="n", factors=(), pairs=pairs), out=tmp_path / "p", hookpoint=["layers.0", "layers.1"]
    )
    from bathyscope.models.load import load_model

    words = ["vector", "--out", str(tmp_path / "v"), "--pairs", str(tmp_path / "p"), "--model", model, *QUICK]
    assert main(words) == 2, "the folder of pairs was read from the same weights under another name"
    assert "the contrast was read from" in capsys.readouterr().err
    collect_pairs(
        load_model(model), PairSet(name="n", factors=(), pairs=pairs), out=tmp_path / "q", hookpoint=["layers.1"]
    )
    words[4] = str(tmp_path / "q")
    assert main(words) == 0
    assert load_vector(tmp_path / "v").hookpoints == ("layers.1",)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ([], "name one of --texts, --task, --pairs"),
        (["--texts", "TEXTS", "--task", "spam"], "--texts and --task given"),
        (["--texts", "TEXTS", "--factor", "colour"], "choose among pairs"),
        (["--texts", "TEXTS", "--hookpoint", "layers.9"], "layers.9"),
        (["--texts", "TEXTS", "--hookpoint", "layers.1", "denoised"], "none was given"),
        (["--texts", "TEXTS", "--words", "cats"], "--explanations"),
    ],
)
def test_bad_use_is_one_line(words, reason, model, texts, tmp_path, capsys):
    words = [texts if word == "TEXTS" else word for word in words]
    assert main(["vector", "--out", str(tmp_path / "v"), "--model", model, *QUICK, *words]) == 2
    said = capsys.readouterr().err.strip()
    assert reason in said and "\n" not in said.removeprefix("error: ")
    assert not (tmp_path / "v").exists()


def test_a_strength_goes_with_files_that_need_one(model, texts, tmp_path, capsys):
    assert main(["vector-convert", "--vector", str(tmp_path), "--out", str(tmp_path / "x")]) == 2
    assert "manifest" in capsys.readouterr().err


def test_every_method_of_the_library_is_a_subcommand():
    import typing

    from bathyscope.vectors.kinds import Method

    offered = {typing.get_args(method)[0] for method in typing.get_args(command.Method)}
    assert offered == set(typing.get_args(Method))
