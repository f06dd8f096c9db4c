"""`bathyscope sweep`: a folder for each dictionary, a table and a picture; what is refused before the work."""

import json
import re
import shutil
from pathlib import Path

import pytest
from tiny import tiny_model

from bathyscope.artifacts import verify
from bathyscope.cli import main
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.grid import grid, kind_names, read_members
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train_many import MemberSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.compare import read_comparison

TEXT = "The sea under the glass is full of light, and fish go by in silver rows. " * 4
QUICK = ["--batch-size", "256", "--epochs", "2", "--evaluate-rows", "300", "--evaluate-tokens", "200"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved tiny model, another one, and activations of the first."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed, name in ((0, "model"), (1, "other")):
        model = tiny_model(seed=seed)
        model.network.save_pretrained(folder / name)
        model.tokenizer.save_pretrained(folder / name)
    (folder / "texts").mkdir()
    for n in range(20):
        (folder / "texts" / f"{n}.txt").write_text(f"{n} {TEXT}")
    where = ["--model", str(folder / "model"), "--text", str(folder / "texts"), "--hookpoint", "layers.1"]
    assert main(["collect", "--out", str(folder / "activations"), *where, "--n-tokens", "3000"]) == 0
    return folder


def sweep(folder: Path, out: Path, *words: str, model: str = "model") -> int:
    where = ["--activations", str(folder / "activations"), "--model", str(folder / model), "--out", str(out)]
    return main(["sweep", *where, *QUICK, *words])


GRID = ["--kinds", "topk", "batchtopk", "--n-features", "48", "--k", "2", "4"]


@pytest.fixture(scope="module")
def swept(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("swept") / "run"
    assert sweep(folder, out, *GRID, "--seeds", "0", "1") == 0
    return out


NAMES = [f"{kind}-48-{k}-seed{seed}" for kind in ("topk", "batchtopk") for k in (2, 4) for seed in (0, 1)]


def test_every_member_has_its_folder_and_all_are_compared(swept):
    assert sorted(f.name for f in swept.iterdir()) == sorted([*NAMES, "comparison"])
    for name in swept.iterdir():
        verify(name)
    rows = read_comparison(swept / "comparison")
    assert [row.name for row in rows] == NAMES and rows[0].kind == "TopK" and rows[-1].kind == "BatchTopK"
    assert rows[0].score("L0").value <= 2 < rows[2].score("L0").value <= 4
    assert all((load_dictionary(swept / name).kind or {})["n_features"] == 48 for name in NAMES)


def test_a_member_is_the_dictionary_that_train_writes(folder, swept, tmp_path):
    where = ["--activations", str(folder / "activations"), "--out", str(tmp_path / "d")]
    seeds = ["--seed", "1", "--order-seed", "0"]
    assert main(["train", *where, *QUICK[:4], *seeds, "topk", "--n-features", "48", "--k", "4"]) == 0
    assert verify(tmp_path / "d").digest == verify(swept / "topk-48-4-seed1").digest


def test_the_same_command_again_finds_everything_done(folder, swept, capsys):
    before = {path: path.stat().st_mtime_ns for path in swept.rglob("manifest.json")}
    capsys.readouterr()
    assert sweep(folder, swept, *GRID, "--seeds", "0", "1", "--json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [event["dictionary"] for event in events[:-1]] == NAMES and "L0" in events[0]
    assert {event["event"] for event in events} == {"result"} and events[-1]["plot"].endswith("comparison.svg")


def test_people_get_a_line_for_each_with_its_null(folder, swept, capsys):
    capsys.readouterr()
    assert sweep(folder, swept, *GRID, "--seeds", "0", "1") == 0
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"topk-48-2-seed0 +L0 ", lines[0]) and "(random " in lines[0] and "dead" in lines[0]


def refused(code: int, capsys) -> str:
    assert code == 2
    errors = capsys.readouterr().err.splitlines()
    (line,) = [line for line in errors if line.startswith("error: ")]
    assert not any("Traceback" in error for error in errors)
    return line


def test_a_larger_sweep_keeps_what_is_there_and_gets_a_comparison_of_its_own(folder, swept, tmp_path):
    out = tmp_path / "run"
    shutil.copytree(swept, out)
    before = {name: verify(out / name).digest for name in [*NAMES, "comparison"]}
    assert sweep(folder, out, *GRID, "--seeds", "0", "1", "2") == 0
    assert {name: verify(out / name).digest for name in before} == before
    names = [row.name for row in read_comparison(out / "comparison-2")]
    assert len(names) == 12 and set(names) > set(NAMES)


def test_a_member_cannot_take_the_name_of_the_comparison(folder, tmp_path, capsys):
    (tmp_path / "members.json").write_text('{"comparison": {"kind": "TopK"}}')
    line = refused(sweep(folder, tmp_path / "run", "--members", str(tmp_path / "members.json")), capsys)
    assert "no dictionary can be named comparison" in line


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--kinds", "topk", "tpok"], "'tpok' is no kind; a sweep takes: "),
        (["--k", "4", "4"], "topk-4608-4 is asked twice"),
        (["--n-features", "48", "--k", "64"], "k is 64: expected 1 to n_features = 48"),
        (["--members", "nowhere.json"], "nowhere.json does not exist"),
    ],
)
def test_what_cannot_be_meant_is_refused_and_nothing_is_written(folder, tmp_path, capsys, words, told):
    assert told in refused(sweep(folder, tmp_path / "run", *words), capsys)
    assert not (tmp_path / "run").exists()


def test_another_model_is_refused_before_training(folder, tmp_path, capsys):
    line = refused(sweep(folder, tmp_path / "run", *GRID, model="other"), capsys)
    assert "belongs to" in line and "load that model" in line
    assert not (tmp_path / "run").exists()


def test_a_diverging_member_is_named_and_the_others_are_compared(folder, tmp_path, capsys, caplog):
    members = {
        "sane": {"kind": "TopK", "n_features": 48, "k": 2},
        "wild": {
            "kind": "MemberSettings",
            "of": {"kind": "TopK", "n_features": 48, "k": 2},
            "lr": 1e30,
            "clip_norm": 0,
        },
    }
    (tmp_path / "members.json").write_text(json.dumps(members))
    words = ["--members", str(tmp_path / "members.json"), "--json"]
    assert sweep(folder, tmp_path / "run", *words) == 0
    printed = capsys.readouterr()
    events = [json.loads(line) for line in printed.out.splitlines()]
    assert events[-1]["diverged"] == "wild" and [e["dictionary"] for e in events if "dictionary" in e] == ["sane"]
    assert "wild: training diverged at step" in caplog.text
    assert sweep(folder, tmp_path / "run", *words) == 0, "the same command again"


def test_the_grid_has_every_combination_once_and_short_names():
    found = grid(["topk", "relu"], n_features=[8, 16], k=[1, 2], seeds=[5])
    assert list(found) == [f"{kind}-{size}-{k}" for kind in ("topk", "relu") for size in (8, 16) for k in (1, 2)]
    assert found["topk-16-2"] == MemberSettings(of=TopK(n_features=16, k=2), seed=5)
    relu = found["relu-16-2"].of
    assert isinstance(relu, ReLU) and relu.l0 == 2
    assert list(grid(["TopK"], n_features=[8], k=[1], seeds=[0, 1])) == ["topk-8-1-seed0", "topk-8-1-seed1"]


@pytest.mark.parametrize("name", ["frozen", "endtoend", "transcoder", "crosscoder"])
def test_a_kind_that_needs_more_than_a_size_or_another_place_is_refused(name):
    with pytest.raises(ConfigError, match=f"'{name}' needs more than a size or reads several places, use `train`"):
        grid([name], n_features=[8], k=[1], seeds=[0])
    assert name not in kind_names() and {"topk", "temporal", "matchingpursuit"} < set(kind_names())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": {"kind": "TopK", "kk": 3}}', "members.a: TopK has no setting named kk"),
        ('{"a": {"kind": "Nope"}}', "expected .*TopK.* found 'Nope'"),
        ('{"a": 3}', "found 3"),
        ("[]", "expected a JSON object"),
        ("{", "is damaged"),
    ],
)
def test_a_members_file_that_says_something_else_is_refused_by_name(text, told, tmp_path):
    (tmp_path / "members.json").write_text(text)
    with pytest.raises((ConfigError, OSError), match=told):
        read_members(tmp_path / "members.json")
