"""The bench of defences, whole, on a tiny model and harmless stand-ins."""

import torch
from evaluation.jailbreak.made_up import materials
from tiny import D_MODEL, tiny_model

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.evaluation.jailbreak.figures import NONE
from bathyscope.studies import defence as room
from bathyscope.studies.defence import ADD_GATED, ENFORCE, ENFORCE_RANDOM, RANDOM_GATED, DefenceBench, bench_defence


def test_every_defence_stands_beside_its_nulls_under_both_judges(tmp_path, monkeypatch):
    W_FD = torch.nn.functional.normalize(torch.randn(40, D_MODEL, generator=torch.Generator().manual_seed(0)), dim=1)
    weights = Weights(W_enc=W_FD.T.contiguous(), b_enc=torch.zeros(40), W_dec=W_FD, b_dec=torch.zeros(D_MODEL))
    Dictionary(
        weights=weights,
        rule=Largest(k=8),
        subtract_b_dec=False,
        hookpoint="layers.1",
        max_activation=torch.full((40,), 2.0),
    ).save(tmp_path / "dictionary")
    monkeypatch.setattr(room, "load_model", lambda _name: tiny_model())
    monkeypatch.setattr("bathyscope.materials.fetch", materials(tmp_path))
    monkeypatch.setattr(room, "LENGTHS", (0.5,))
    monkeypatch.setattr(room, "GAINS", (1.0,))
    monkeypatch.setattr(room, "SELF_REMINDER", "Be good.")
    settings = DefenceBench(
        hookpoint="layers.1",
        dictionary=tmp_path / "dictionary",
        n_harmful=3,
        n_harmless=12,
        n_wrappers=1,
        n_features=2,
        max_new_tokens=3,
        batch_size=128,
    )
    rows = bench_defence(settings, out=tmp_path / "out")
    found = {(row.subject, row.metric) for row in rows}
    for judge in ("phrases", "phrases or evasion"):
        for way in (NONE, ADD_GATED, RANDOM_GATED, ENFORCE, ENFORCE_RANDOM):
            assert (way, f"attack success · {judge}") in found
            assert (way, f"usefulness · {judge}") in found
    table = (tmp_path / "out" / "scores" / "table.md").read_text()
    assert "bad thing" not in table and "| self-reminder |" in table
