"""The commands that measure several dictionaries at once: names, parents in the manifest, what is printed."""

import json
from pathlib import Path

import pytest
import torch

from bathyscope import artifacts
from bathyscope.cli import main
from bathyscope.cli.score_rows import load_named
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError


def saved(folder: Path, seed: int) -> Path:
    generator = torch.Generator().manual_seed(seed)
    rows = torch.nn.functional.normalize(torch.randn(30, 12, generator=generator), dim=1)
    weights = Weights(W_enc=rows.T.contiguous(), b_enc=torch.zeros(30), W_dec=rows, b_dec=torch.zeros(12))
    Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False, hookpoint="layers.1").save(folder)
    return folder


def test_dictionaries_are_named_by_the_shortest_unique_end_of_their_path(tmp_path):
    folders = [saved(tmp_path / run / "dictionary", seed) for seed, run in enumerate(("one", "two"))]
    dictionaries, parents = load_named(folders)
    assert list(dictionaries) == ["one/dictionary", "two/dictionary"]
    assert parents == {f"dictionary {name}": folder for name, folder in zip(dictionaries, folders, strict=True)}
    assert list(load_named([folders[0], saved(tmp_path / "one" / "other", 2)])[0]) == ["dictionary", "other"]
    assert load_named([]) == ({}, {})
    with pytest.raises(ConfigError, match="given twice"):
        load_named([folders[0], folders[0]])


def test_stability_prints_every_pair_with_its_nulls_and_records_its_parents(tmp_path, capsys):
    folders = [str(saved(tmp_path / f"seed{seed}", seed)) for seed in range(2)]
    out = str(tmp_path / "scores")
    assert main(["stability", "--dictionary", *folders, "--out", out, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    subjects = {row["subject"] for row in rows if "subject" in row}
    assert {"seed0 ~ seed1", "seed0 ~ seed1, random directions"} <= subjects
    assert set(artifacts.read_manifest(Path(out)).parents) == {"dictionary seed0", "dictionary seed1"}


def test_one_dictionary_cannot_be_compared(tmp_path, capsys):
    folder = str(saved(tmp_path / "seed0", 0))
    assert main(["stability", "--dictionary", folder, "--out", str(tmp_path / "scores")]) == 2
    assert "expected at least two" in capsys.readouterr().err
