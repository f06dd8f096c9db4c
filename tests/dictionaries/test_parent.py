"""Going on from a finished dictionary."""

import dataclasses
import logging
from pathlib import Path

import pytest
import torch
from dictionaries.planted import FakeStore, world

from bathyscope.artifacts import read_manifest
from bathyscope.cli import main
from bathyscope.cli import train as train_command
from bathyscope.dictionaries.abs_topk import AbsTopK
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.parent import open_parent
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.errors import ArtifactError, ConfigError

D, F = 32, 24
KIND = TopK(n_features=F, k=3, dead_after_tokens=2000)
LONG = TrainSettings(epochs=5, lr=1e-2)
SHORT = TrainSettings(n_tokens=640, lr=1e-3, log_every=2, checkpoint_seconds=0.0)
WORLD = world(n_true=F, d_model=D, n_tokens=4096, p_active=0.08)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FakeStore:
    return FakeStore(tmp_path_factory.mktemp("run") / "activations", WORLD.x_ND)


@pytest.fixture(scope="module")
def parent(tmp_path_factory, store) -> Path:
    out = tmp_path_factory.mktemp("parent") / "d"
    train(store, KIND, out=out, settings=dataclasses.replace(LONG, batch_size=64))
    return out


def explained(dictionary: Dictionary) -> float:
    return dictionary.training["survey"]["variance_explained"]


def test_a_few_steps_keep_what_was_learnt_and_a_fresh_start_has_not_got_there(store, parent):
    before = explained(open_parent(parent).dictionary)  # pyright: ignore[reportOptionalMemberAccess]
    settings = dataclasses.replace(SHORT, batch_size=64)
    after = train(store, KIND, settings=settings, start_from=parent)
    fresh = train(store, KIND, settings=settings)
    assert before > 0.8 and explained(after) > before - 0.02
    assert explained(fresh) < before - 0.2


def test_the_folder_says_what_it_went_on_from(store, parent, tmp_path):
    found = train(store, KIND, out=tmp_path / "d", settings=SHORT, start_from=parent)
    manifest = read_manifest(tmp_path / "d")
    assert manifest.parents["dictionary"]["digest"] == read_manifest(parent).digest
    assert set(manifest.parents) == {"activations", "dictionary"}
    start = open_parent(parent)
    assert start is not None and manifest.config["start_from"] == start.dictionary.digest != found.digest
    train(store, KIND, out=tmp_path / "fresh", settings=SHORT)
    assert "start_from" not in read_manifest(tmp_path / "fresh").config


def test_a_folder_made_from_another_parent_is_not_taken_for_this_one(store, parent, tmp_path):
    first = train(store, KIND, out=tmp_path / "d", settings=SHORT, start_from=parent)
    again = train(store, KIND, out=tmp_path / "d", settings=SHORT, start_from=parent)
    assert again.digest == first.digest
    for other in (None, first):
        with pytest.raises(ArtifactError, match=r"other settings \(.*start_from"):
            train(store, KIND, out=tmp_path / "d", settings=SHORT, start_from=other)


def test_the_scale_comes_from_the_data(store, parent):
    start = open_parent(parent)
    assert start is not None
    found = train([WORLD.x_ND / 10], KIND, settings=SHORT, start_from=start.dictionary)
    wanted = 10 * KIND.scale(WORLD.x_ND)
    assert found.training["scale"] == pytest.approx(wanted, rel=1e-4)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (dataclasses.replace(KIND, n_features=F + 1), f"{F} features over width {D}, this kind is set to {F + 1}"),
        (dataclasses.replace(KIND, k=5), r"keeps Largest\(k=3\), this kind keeps Largest\(k=5\)"),
        (AbsTopK(n_features=F, k=3), r"keeps Largest\(k=3\), this kind keeps LargestAbsolute"),
        (ReLU(n_features=F), r"keeps Largest\(k=3\), this kind keeps Positive"),
    ],
)
def test_a_dictionary_that_does_not_fit_is_refused_by_name(kind, line, store, parent, tmp_path):
    with pytest.raises(ConfigError, match=line):
        train(store, kind, out=tmp_path / "d", settings=SHORT, start_from=parent)
    assert list(tmp_path.iterdir()) == [], "nothing is begun"


def test_another_width_is_refused_by_name(parent):
    with pytest.raises(ConfigError, match=f"over width {D}, this kind is set to {F} over {D - 2}"):
        train([WORLD.x_ND[:, :-2]], KIND, settings=SHORT, start_from=parent)


def test_another_model_or_hookpoint_is_logged(store, parent, caplog):
    start = open_parent(parent)
    assert start is not None
    elsewhere = dataclasses.replace(start.dictionary, hookpoint="layers.7")
    with caplog.at_level(logging.WARNING):
        train(store, KIND, settings=SHORT, start_from=elsewhere)
    assert "is of the hookpoint layers.7, the activations of layers.1" in caplog.text
    caplog.clear()
    train(store, KIND, settings=SHORT, start_from=start.dictionary)
    assert caplog.text == ""


def test_an_interrupted_run_goes_on_from_its_checkpoint_and_not_from_the_parent(store, parent, tmp_path):
    from bathyscope.progress import Step, listening

    def stop(step: Step) -> None:
        if step.done == 256:
            raise KeyboardInterrupt

    settings = dataclasses.replace(SHORT, batch_size=64)
    straight = train(store, KIND, settings=settings, start_from=parent)
    with pytest.raises(KeyboardInterrupt), listening(stop):
        train(store, KIND, out=tmp_path / "d", settings=settings, start_from=parent)
    assert train(store, KIND, out=tmp_path / "d", settings=settings, start_from=parent).digest == straight.digest


def test_the_command_line_goes_on_from_a_folder(store, parent, tmp_path, monkeypatch):
    monkeypatch.setattr(train_command, "_opened", lambda folders: store)
    words = f"train --activations {store.path} --out {tmp_path / 'd'} --json --n-tokens 640 --start-from {parent} topk"
    assert main([*words.split(), "--k", "3", "--n-features", str(F)]) == 0
    assert read_manifest(tmp_path / "d").parents["dictionary"]["digest"] == read_manifest(parent).digest
    assert main([*words.replace("/d ", "/e ").split(), "--k", "4", "--n-features", str(F)]) == 2


def test_a_parent_is_a_dictionary_a_folder_or_nothing(parent):
    assert open_parent(None) is None
    from_folder = open_parent(str(parent))
    assert from_folder is not None and from_folder.path == parent
    held = open_parent(from_folder.dictionary)
    assert held is not None and held.path is None and torch.equal(held.dictionary.W_dec, from_folder.dictionary.W_dec)
