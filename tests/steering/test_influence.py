"""Influence: a feature that writes a letter raises it, its controls do not, and an interrupted run ends the same."""

import dataclasses

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model

from bathyscope import artifacts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.models.unembed import unembedding
from bathyscope.steering import influence as room
from bathyscope.steering.influence import InfluenceSettings, Toward, influence, read_influence
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.targets import word_tokens

SETTINGS = InfluenceSettings(prompts=("sea", "wind and"), strength=4.0, max_new_tokens=4, n_random=3, n_others=2)


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def writer(model) -> Dictionary:
    """Feature 0 writes the letter Q into the output of the final norm, feature 1 the letter Z; the rest are random."""
    dictionary = dataclasses.replace(random_dictionary(model, n_features=12, k=3), hookpoint="norm")
    W_dec = dictionary.W_dec.clone()
    W_dec[:2] = torch.nn.functional.normalize(unembedding(model)[[ord("Q"), ord("Z")]], dim=1)
    return dataclasses.replace(dictionary, weights=dataclasses.replace(dictionary.weights, W_dec=W_dec))


def means(rows, figure="shift"):
    arms = {}
    for row in rows:
        arms.setdefault((row.feature, row.arm), []).append(getattr(row, figure))
    return {key: sum(values) / len(values) for key, values in arms.items()}


def test_a_feature_raises_what_it_writes_and_its_controls_do_not(model, writer, tmp_path):
    targets = {0: [ord("Q")], 1: [ord("Q")]}
    rows = influence(model, writer, targets, out=tmp_path / "out", parents={}, settings=SETTINGS)
    assert len(rows) == 2 * 2 * (1 + 3 + 2)
    found = means(rows)
    assert found[0, "feature"] > 0.5
    assert found[0, "feature"] > found[0, "random direction"] + 0.3
    assert found[0, "feature"] > found[0, "other feature"] + 0.3
    assert found[1, "feature"] < found[0, "feature"] - 0.3, "the letter of another feature"
    assert all(row.kl >= 0 for row in rows)
    assert {row.control for row in rows if row.arm == "random direction"} == {0, 1, 2}
    assert not {row.control for row in rows if row.arm == "other feature" and row.feature == 0} & {0}


def test_an_interrupted_run_ends_with_the_same_bytes(model, writer, tmp_path, monkeypatch):
    targets = {0: [ord("Q")], 1: [ord("Z")]}
    influence(model, writer, targets, out=tmp_path / "whole", parents={}, settings=SETTINGS)
    calls, effects = [], room.effects

    def stops(*given, **named):
        calls.append(1)
        if len(calls) > 8:
            raise KeyboardInterrupt
        return effects(*given, **named)

    monkeypatch.setattr(room, "effects", stops)
    with pytest.raises(KeyboardInterrupt):
        influence(model, writer, targets, out=tmp_path / "cut", parents={}, settings=SETTINGS)
    monkeypatch.setattr(room, "effects", effects)
    influence(model, writer, targets, out=tmp_path / "cut", parents={}, settings=SETTINGS)
    digests = [artifacts.read_manifest(tmp_path / name).digest for name in ("whole", "cut")]
    assert digests[0] == digests[1]


def test_the_move_toward_another_feature_is_just_as_long(model, writer):
    clamp = Clamp(writer, (0,), 2.0)
    unit_D = torch.nn.functional.normalize(writer.W_dec[5], dim=0)
    x_ND = torch.randn(6, D_MODEL, generator=torch.Generator().manual_seed(0))
    moved_ND = Toward(clamp, unit_D).delta(x_ND)
    assert torch.allclose(moved_ND.norm(dim=1), clamp.delta(x_ND).norm(dim=1), atol=1e-5)
    assert torch.allclose(torch.nn.functional.cosine_similarity(moved_ND, unit_D[None]), torch.ones(6), atol=1e-5)


def test_words_become_the_tokens_that_begin_them(model):
    assert word_tokens(model, ["sea", "sand", "wind", " "]) == (ord("s"), ord("w"))


@pytest.mark.parametrize(
    ("targets", "message"),
    [({}, "at least one feature"), ({0: []}, "no target tokens"), ({99: [1]}, "numbers from 0 to 11")],
)
def test_what_cannot_be_asked_is_refused(model, writer, tmp_path, targets, message):
    with pytest.raises(ConfigError, match=message):
        influence(model, writer, targets, out=tmp_path / "out", parents={}, settings=SETTINGS)
    assert not (tmp_path / "out").exists()


def test_empty_prompts_and_foreign_folders_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="none of them empty"):
        InfluenceSettings(prompts=("sea", "  "))
    with pytest.raises(ArtifactError, match="does not exist"):
        read_influence(tmp_path / "nothing")
