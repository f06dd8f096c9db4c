"""Fidelity on a tiny model: definitions by hand, anchors that must hold, resumption, one row per subject."""

import dataclasses

import numpy as np
import pytest
import torch
from tiny import tiny_model

from bathyscope.activations.collect import CollectSettings, collect
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation import fidelity as room
from bathyscope.evaluation.fidelity import FidelitySettings, fidelity, splice_scores
from bathyscope.evaluation.segments import held_out_segments, segment_batches

SETTINGS = FidelitySettings(n_rows=400, n_tokens=300, tokens_per_batch=128)
WORDS = ("sea", "glass", "light", "fish", "sail", "rope", "wind", "deep", "water", "under", "over", "again")


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def store(model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    for n in range(24):
        (folder / f"{n}.txt").write_text(" ".join(WORDS[(n * 5 + i * i) % 12] for i in range(20)))
    out = folder / "activations"
    return collect(
        model, str(folder), out=out, hookpoint="layers.1", n_tokens=2200, settings=CollectSettings(held_out=0.4)
    )


def orthonormal(store) -> Dictionary:
    """A dictionary that loses nothing: ± an orthonormal basis, half of it active."""
    basis = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(0))).Q
    W_dec = torch.cat([basis, -basis])
    weights = Weights(W_enc=W_dec.T.contiguous(), b_enc=torch.zeros(64), W_dec=W_dec, b_dec=torch.zeros(32))
    return Dictionary(
        weights=weights,
        rule=Largest(k=32),
        subtract_b_dec=False,
        hookpoint="layers.1",
        model_identity=store.model_identity,
    )


@pytest.fixture(scope="module")
def dictionary(store, tmp_path_factory):
    dictionary = orthonormal(store)
    dictionary.save(tmp_path_factory.mktemp("dictionary") / "dictionary")
    return dictionary


def measure(model, dictionary, store, folder):
    dictionary.save(folder / "dictionary")
    parents = {"dictionary": folder / "dictionary", "activations": store.path}
    rows = fidelity(model, dictionary, store, out=folder / "scores", parents=parents, settings=SETTINGS)
    return {(row.subject, row.metric): row for row in rows}


def test_a_lossless_dictionary_scores_one_and_the_anchors_score_zero(model, dictionary, store, tmp_path):
    found = measure(model, dictionary, store, tmp_path)
    assert found["dictionary", "variance explained"].value == pytest.approx(1, abs=1e-5)
    assert found["dictionary", "cosine"].value == pytest.approx(1, abs=1e-5)
    assert found["dictionary", "L0"].value == pytest.approx(32, abs=0.01)
    assert found["dictionary", "CE loss recovered"].value == pytest.approx(1, abs=1e-3)
    assert found["dictionary", "KL"].value == pytest.approx(0, abs=1e-4)
    assert found["mean", "variance explained"].value == pytest.approx(0, abs=0.05)
    assert found["zeroed layer", "CE loss recovered"].value == 0
    assert found["zeroed layer", "variance explained"].value < 0
    assert found["mean", "CE loss recovered over mean"].value == 0
    assert 0 < found["random dictionary", "variance explained"].value < 1
    assert found["random dictionary", "KL"].value > 0.01
    for row in found.values():
        assert row.low <= row.value + 1e-9 and row.value <= row.high + 1e-9, row
        assert row.split == "held_out"


def test_variance_explained_equals_a_hand_computation(model, dictionary, store, tmp_path):
    half = dataclasses.replace(dictionary, rule=Largest(k=8))
    found = measure(model, half, store, tmp_path)["dictionary", "variance explained"]
    rows = room._spread(store.rows("held_out"), SETTINGS.n_rows)
    x_ND = store.read(rows).double()
    error = (x_ND - half.reconstruct(x_ND.float()).double()).square().sum()
    assert found.value == pytest.approx(1 - float(error / (x_ND - x_ND.mean(0)).square().sum()), abs=1e-6)
    assert found.n == len(np.unique(store.documents[store.row_tokens()[rows]]))


def test_only_held_out_documents_are_read(store):
    segments = held_out_segments(store, n_tokens=400, seed=0)
    documents = np.array([store.documents[start] for start, _ in segments])
    assert len(segments) > 3 and store.held_out(documents).all()
    for start, stop in segments:
        assert store.positions[start] == 0 and len(np.unique(store.documents[start:stop])) == 1


def test_segments_in_batches_hold_the_tokens_of_the_store_and_nothing_else(store):
    segments = held_out_segments(store, n_tokens=400, seed=0)
    seen = []
    for batch in segment_batches(store, segments, tokens_per_batch=128):
        assert batch.tokens_BS.numel() <= max(128, batch.tokens_BS.shape[1])
        assert not (batch.kept_BS & ~batch.mask_BS.bool()).any()
        seen += [row[mask.bool()].tolist() for row, mask in zip(batch.tokens_BS, batch.mask_BS, strict=True)]
    assert seen == [store.tokens[start:stop].tolist() for start, stop in segments]


def test_an_interrupted_measurement_resumes_to_the_same_figures(model, dictionary, store, tmp_path, monkeypatch):
    whole = measure(model, dictionary, store, tmp_path / "whole")
    calls = []
    measured = room.splice_losses

    def fail_at_the_third(*arguments):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measured(*arguments)

    monkeypatch.setattr(room, "splice_losses", fail_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        measure(model, dictionary, store, tmp_path / "cut")
    assert (tmp_path / "cut" / "scores.partial").exists()
    assert measure(model, dictionary, store, tmp_path / "cut") == whole


def test_recovered_loss_is_relative_to_the_ablation(model):
    sums = {
        "clean": np.array([[20.0, 0, 10], [30.0, 0, 10]]),
        "zeroed layer": np.array([[100.0, 80, 10], [110.0, 80, 10]]),
        "mean": np.array([[60.0, 40, 10], [70.0, 40, 10]]),
        "dictionary": np.array([[36.0, 16, 10], [46.0, 16, 10]]),
    }
    found = {(row.subject, row.metric): row.value for row in splice_scores(sums, seed=0)}
    assert found["dictionary", "CE loss recovered"] == pytest.approx((210 - 82) / (210 - 50))
    assert found["dictionary", "CE loss recovered over mean"] == pytest.approx((130 - 82) / (130 - 50))
    assert found["dictionary", "KL"] == pytest.approx(1.6)
    assert found["clean model", "CE loss"] == pytest.approx(2.5)


def test_a_store_without_held_out_documents_is_refused(model, dictionary, tmp_path):
    (tmp_path / "a.txt").write_text("sea glass light " * 10)
    settings = CollectSettings(held_out=0.0)
    store = collect(
        model, str(tmp_path / "a.txt"), out=tmp_path / "a", hookpoint="layers.1", n_tokens=100, settings=settings
    )
    with pytest.raises(ConfigError, match="no held-out document"):
        measure(model, dictionary, store, tmp_path)
    assert not (tmp_path / "scores").exists() and not (tmp_path / "scores.partial").exists()
