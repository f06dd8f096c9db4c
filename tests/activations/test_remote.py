"""Stores at any address that fsspec knows: the same rows, read once, altered files refused, nothing written there."""

import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
import torch
from activations.small_store import HOOKPOINTS, TEXT, make_store
from tiny import tiny_model

from bathyscope.activations.collect import collect
from bathyscope.activations.remote import local_folder
from bathyscope.activations.store import ActivationStore
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import url_of
from bathyscope.progress import Step, listening


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("BATHYSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def store(tmp_path) -> ActivationStore:
    return make_store(tmp_path / "activations", n_tokens=400)


@pytest.fixture
def address(store) -> Iterator[str]:
    """A copy of the store in memory."""
    files = fsspec.filesystem("memory")
    for name in ("manifest.json", *store.manifest.files):
        files.pipe_file(f"/bucket/a/{name}", (store.path / name).read_bytes())
    yield "memory://bucket/a"
    files.rm("/bucket", recursive=True)


@pytest.mark.parametrize("as_path", [False, True])
def test_a_store_elsewhere_gives_the_rows_of_the_store(as_path, store, address):
    found = ActivationStore(Path(address) if as_path else address)
    assert found.manifest.digest == store.manifest.digest
    torch.testing.assert_close(found.read(slice(None), HOOKPOINTS[0]), store.read(slice(None), HOOKPOINTS[0]))
    assert found.sources == store.sources


def test_files_are_copied_once(address):
    seen: list[Step] = []
    with listening(seen.append):
        first = ActivationStore(address)
        n_copied = len(seen)
        assert ActivationStore(address).path == first.path
    assert n_copied == len(seen) == len(first.manifest.files) and seen[-1].done == seen[-1].total


def test_an_altered_file_is_refused_when_it_is_used(address):
    fsspec.filesystem("memory").pipe_file("/bucket/a/tokens.npy", b"other")
    with pytest.raises(ArtifactError, match=r"tokens\.npy is truncated or altered"):
        _ = ActivationStore(address).tokens


def test_a_folder_of_this_machine_may_be_given_as_an_address(store):
    assert ActivationStore(f"file://{store.path}").n_rows == store.n_rows
    assert url_of("notes/a.txt:text") is None and url_of("runs/a") is None


def test_what_cannot_be_read_is_one_line(address):
    with pytest.raises(ConfigError, match="nowhere://x cannot be read: Protocol not known: nowhere"):
        local_folder("nowhere://x")
    with pytest.raises(ArtifactError, match=r"memory://bucket/b has no manifest\.json"):
        local_folder("memory://bucket/b")
    fsspec.filesystem("memory").pipe_file("/bucket/c/manifest.json", b"[]")
    with pytest.raises(ArtifactError, match="is no manifest of this version"):
        local_folder("memory://bucket/c")


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", ""])
def test_a_manifest_cannot_name_files_outside_its_folder(name, address, cache):
    manifest = {"digest": "ab12", "files": {name: {"bytes": 1, "sha256": ""}}}
    fsspec.filesystem("memory").pipe_file("/bucket/d/manifest.json", json.dumps(manifest).encode())
    with pytest.raises(ArtifactError, match="which is no file of the folder"):
        local_folder("memory://bucket/d")
    assert not cache.exists()


def test_nothing_is_written_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ArtifactError, match="memory://bucket/new: folders are made on a disk of this machine"):
        collect(tiny_model(), TEXT, out="memory://bucket/new", hookpoint=HOOKPOINTS, n_tokens=100)
    assert list(tmp_path.iterdir()) == []
