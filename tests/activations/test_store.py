"""Reading a store back."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from activations.small_store import HOOKPOINTS, make_store

from bathyscope.activations.shards import open_shard, write_shard
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe, draft
from bathyscope.errors import ArtifactError, ConfigError


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("store") / "activations")


@pytest.fixture
def copy(store, tmp_path) -> Path:
    """A folder that a test may damage."""
    shutil.copytree(store.path, tmp_path / "activations")
    return tmp_path / "activations"


def shard(folder: Path, number: int) -> Path:
    return folder / f"shard-{number:05d}.safetensors"


def test_rows_come_in_the_order_asked_whatever_shards_they_lie_in(store) -> None:
    whole_ND = store.read(slice(None), "layers.1")
    assert whole_ND.shape == (store.n_rows, 32) and whole_ND.dtype == torch.float32
    rng = np.random.default_rng(0)
    for rows in (
        rng.integers(0, store.n_rows, 300),
        rng.permutation(store.n_rows),
        np.array([store.n_rows - 1, 0, 0, 5]),
        np.arange(150, 700),
        np.arange(700, 150, -3),
        [3],
        [],
    ):
        assert torch.equal(store.read(rows, "layers.1"), whole_ND[torch.as_tensor(np.asarray(rows, dtype=np.int64))])
    assert torch.equal(store.read(torch.tensor([4, 2]), "layers.1"), whole_ND[[4, 2]])
    assert torch.equal(store.read(slice(5, 900, 7), "layers.1"), whole_ND[5:900:7])


def test_hookpoints_are_kept_apart(store) -> None:
    assert store.hookpoints == HOOKPOINTS
    assert not torch.equal(store.read([0], HOOKPOINTS[0]), store.read([0], HOOKPOINTS[1]))
    with pytest.raises(ConfigError, match=r"several hookpoints and none is named; expected one of: layers\.1, layers"):
        store.read([0])
    with pytest.raises(ConfigError, match=r"no hookpoint 'layers\.2'"):
        store.d_model("layers.2")


def test_types_are_converted_on_reading(store) -> None:
    stored = store.read(slice(0, 9), "layers.1", dtype=None)
    assert stored.dtype == torch.float16 == store.dtype
    assert torch.equal(store.read(slice(0, 9), "layers.1", dtype=torch.float64), stored.double())


def test_rows_that_do_not_exist_are_refused(store) -> None:
    for rows in ([store.n_rows], [-1], [0, 10**9]):
        with pytest.raises(ConfigError, match=f"has 0 … {store.n_rows - 1}"):
            store.read(rows, "layers.1")


def test_what_is_read_may_be_changed_without_changing_the_store(store) -> None:
    first = store.read(slice(0, 3), "layers.1", dtype=None)
    before = first.clone()
    first.zero_()
    assert torch.equal(store.read(slice(0, 3), "layers.1", dtype=None), before)


def test_the_split_is_by_document_disjoint_and_stable(store) -> None:
    train, held_out = store.rows("train"), store.rows("held_out")
    assert sorted([*train, *held_out]) == store.rows("all").tolist() == list(range(store.n_rows))
    documents = store.documents[store.row_tokens()]
    assert not set(documents[train]) & set(documents[held_out])
    assert store.held_out(documents[held_out]).all() and not store.held_out(documents[train]).any()
    assert 0.05 < len(held_out) / store.n_rows < 0.2
    again = ActivationStore(store.path)
    assert (again.rows("held_out") == held_out).all()


def test_row_tokens_lead_back_to_the_text(store) -> None:
    assert (store.row_tokens() == np.flatnonzero(store.kept)).all()


@pytest.mark.parametrize(
    ("damage", "reason"),
    [(lambda data: data[:-100], "truncated"), (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "altered")],
)
def test_a_damaged_shard_is_refused_by_name_when_it_is_first_used(store, copy, damage, reason) -> None:
    file = shard(copy, 3)
    file.write_bytes(damage(file.read_bytes()))
    damaged = ActivationStore(copy)
    first = int(np.cumsum([s["rows"] for s in store.description["shards"]])[2])
    assert torch.equal(damaged.read(slice(0, first), "layers.1"), store.read(slice(0, first), "layers.1"))
    with pytest.raises(ArtifactError, match=rf"shard-00003\.safetensors (is|was) .*{reason}"):
        damaged.read([first], "layers.1")


@pytest.mark.parametrize("name", ["tokens.npy", "kept.npy", "documents.npy"])
def test_a_damaged_token_file_is_refused_by_name(copy, name) -> None:
    data = bytearray((copy / name).read_bytes())
    data[-1] ^= 1
    (copy / name).write_bytes(bytes(data))
    with pytest.raises(ArtifactError, match=f"{name} was altered"):
        ActivationStore(copy).rows("train")


def test_a_missing_shard_and_an_altered_index_are_refused(copy) -> None:
    shard(copy, 0).unlink()
    with pytest.raises(ArtifactError, match=r"shard-00000\.safetensors is missing"):
        ActivationStore(copy).read([0], "layers.1")
    (copy / "index.json").write_text((copy / "index.json").read_text().replace("float16", "float32"))
    with pytest.raises(ArtifactError, match=r"index\.json"):
        ActivationStore(copy)


def test_another_kind_an_absent_and_an_unfinished_folder_are_refused(tmp_path) -> None:
    with draft(tmp_path / "scores", Recipe(kind="scores", config={})) as work:
        (work.path / "scores.jsonl").write_text("{}\n")
    with pytest.raises(ArtifactError, match="kind 'scores', expected 'activations'"):
        ActivationStore(tmp_path / "scores")
    with pytest.raises(ArtifactError, match="does not exist"):
        ActivationStore(tmp_path / "none")
    (tmp_path / "begun.partial").mkdir()
    with pytest.raises(ArtifactError, match="unfinished, run the same command again"):
        ActivationStore(str(tmp_path / "begun"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_shard_gives_back_every_bit(tmp_path, dtype) -> None:
    x_ND = torch.randn(7, 5, generator=torch.Generator().manual_seed(0)).to(dtype)
    write_shard(tmp_path / "s", {"a.b": x_ND, "c": x_ND[:, :2]})
    shard = open_shard(tmp_path / "s", n_rows=7, widths={"a.b": 5, "c": 2})
    whole_ND, some_ND = torch.empty(7, 5, dtype=dtype), torch.empty(2, 2, dtype=dtype)
    shard.take("a.b", slice(0, 7), whole_ND)
    shard.take("c", np.array([6, 1]), some_ND)
    assert torch.equal(whole_ND, x_ND) and torch.equal(some_ND, x_ND[[6, 1], :2])


@pytest.mark.parametrize("content", [b"", b"\xff" * 8, b"\x10" + bytes(7) + b"not json at all", bytes(100)])
def test_a_file_that_is_no_shard_is_refused_by_name(tmp_path, content) -> None:
    (tmp_path / "s").write_bytes(content)
    with pytest.raises(ArtifactError, match="is no readable shard"):
        open_shard(tmp_path / "s", n_rows=1, widths={"a": 1})


def test_a_shard_of_other_sizes_is_refused(tmp_path) -> None:
    write_shard(tmp_path / "s", {"a": torch.zeros(3, 2)})
    with pytest.raises(ArtifactError, match=r"a has shape \(3, 2\), expected \(4, 2\)"):
        open_shard(tmp_path / "s", n_rows=4, widths={"a": 2})
    with pytest.raises(ArtifactError, match="is no readable shard"):
        open_shard(tmp_path / "s", n_rows=3, widths={"b": 2})
