"""`bathyscope shifts`: from a file of pairs to a dictionary and a page."""

import json

import numpy as np
import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts
from safetensors.torch import save_file
from tiny import tiny_model

from bathyscope.activations.pairs.collect import collect_pairs
from bathyscope.activations.pairs.sets import pair_set
from bathyscope.artifacts import read_manifest, verify
from bathyscope.cli import main
from bathyscope.dictionaries.dictionary import load_dictionary

QUICK = ["--n-features", "5", "--n-restarts", "1", "--beta", "0.65", "--n-steps", "30", "--n-draws", "200"]
QUICK += ["--n-restarts-again", "1", "--n-removals", "0", "--no-controls"]


@pytest.fixture
def pairs():
    shifts_PD, changes_PC, _ = sparse_shifts()
    before_PD = torch.randn(shifts_PD.shape, generator=torch.Generator().manual_seed(0))
    return torch.stack([before_PD, before_PD + shifts_PD], dim=1), (changes_PC != 0).to(torch.int8)


def test_a_file_of_pairs_becomes_a_dictionary_and_a_page(pairs, tmp_path, capsys):
    save_file({"pairs": pairs[0], "support": pairs[1]}, tmp_path / "pairs.safetensors")
    assert main(["shifts", "--pairs", str(tmp_path / "pairs.safetensors"), "--out", str(tmp_path / "run"), *QUICK]) == 0
    said = capsys.readouterr().out
    assert "the supports tell every concept from every other" in said and "| column | real |" in said
    assert load_dictionary(tmp_path / "run" / "dictionary").n_features == 5
    verify(tmp_path / "run" / "report")
    again = ["shifts", "--pairs", str(tmp_path / "pairs.safetensors"), "--out", str(tmp_path / "run"), *QUICK, "--json"]
    assert main(again) == 0
    last = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert last["columns"] == last["real columns"] == 5


def test_a_folder_of_pairs_brings_its_names_hookpoint_and_origin(tmp_path, capsys):
    model, folder = tiny_model(), tmp_path / "pairs"
    collect_pairs(model, pair_set("binary", n=60), out=folder, hookpoint=["layers.0", "layers.1"])
    words = ["shifts", "--pairs", str(folder), "--out", str(tmp_path / "run"), *QUICK]
    assert main(words) == 2
    assert "several hookpoints" in capsys.readouterr().err
    assert main([*words, "--hookpoint", "layers.1"]) == 0
    assert "the supports tell every concept from every other" in capsys.readouterr().out
    dictionary = load_dictionary(tmp_path / "run" / "dictionary")
    assert dictionary.hookpoint == "layers.1" and dictionary.model_identity == model.identity
    assert "pairs" in read_manifest(tmp_path / "run" / "dictionary", kind="dictionary").parents


def test_bad_files_are_refused_in_one_line(pairs, tmp_path, capsys):
    np.save(tmp_path / "flat.npy", pairs[0].reshape(-1, 8).numpy())
    np.save(tmp_path / "equal.npy", np.ones((20, 2, 8), np.float32))
    save_file({"x": pairs[0]}, tmp_path / "other.safetensors")
    (tmp_path / "text.npy").write_text("no array")
    (tmp_path / "pairs.csv").write_text("1,2")
    expected = {
        "flat.npy": "a matrix does not say which rows belong together",
        "equal.npy": "the two sides of all 20 pairs are equal",
        "other.safetensors": "holds x: expected a tensor `pairs`",
        "text.npy": "cannot be read as an array of numbers",
        "pairs.csv": "expected .npy or .safetensors",
        "nothing.npy": "is not a file",
    }
    for name, line in expected.items():
        assert main(["shifts", "--pairs", str(tmp_path / name), "--out", str(tmp_path / "run"), *QUICK]) == 2
        error = capsys.readouterr().err.strip().splitlines()[-1]
        assert error.startswith("error: ") and line in error, name
    assert not (tmp_path / "run").exists()
