"""Shuffled batches: every row once per epoch, resumable, held-out documents never."""

import itertools

import numpy as np
import pytest
import torch
from activations.small_store import make_store

from bathyscope.activations.batches import BatchPosition, BatchStream, batches
from bathyscope.activations.store import ActivationStore
from bathyscope.config import from_json, to_json
from bathyscope.errors import ConfigError

WHOLE, TIGHT, TIGHTEST = 1500.0, 0.02, 0.0001
"""Memory limits (MB) for: all rows, 312 rows, no more than two batches."""

each_limit = pytest.mark.parametrize("limit", [WHOLE, TIGHT, TIGHTEST])


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> ActivationStore:
    return make_store(tmp_path_factory.mktemp("store") / "activations")


def stream(store, limit: float, **settings) -> BatchStream:
    settings = {"batch_size": 32, "hookpoint": "layers.1", "epochs": 1, **settings}
    return batches(store, memory_limit_mb=limit, **settings)


def fingerprints(x: torch.Tensor) -> list[bytes]:
    return sorted(row.numpy().tobytes() for row in x)


@each_limit
@pytest.mark.parametrize("batch_size", [7, 32, 1000, 10**6])
@pytest.mark.parametrize("split", ["train", "held_out", "all"])
def test_every_row_of_the_split_comes_once_per_epoch(store, limit, batch_size, split) -> None:
    expected = fingerprints(store.read(store.rows(split), "layers.1"))
    found = list(stream(store, limit, batch_size=batch_size, split=split, epochs=2))
    n_batches = -(-len(expected) // batch_size)
    assert [len(x) for x in found[: n_batches - 1]] == [batch_size] * (n_batches - 1)
    assert len(found) == 2 * n_batches
    for epoch in (found[:n_batches], found[n_batches:]):
        assert fingerprints(torch.cat(epoch)) == expected


@each_limit
def test_every_epoch_and_every_seed_has_its_own_order(store, limit) -> None:
    both = list(stream(store, limit, epochs=2))
    first, second = torch.cat(both[: len(both) // 2]), torch.cat(both[len(both) // 2 :])
    other = torch.cat(list(stream(store, limit, seed=1)))
    again = torch.cat(list(stream(store, limit)))
    assert torch.equal(first, again)
    assert not torch.equal(first, second) and not torch.equal(first, other)


@each_limit
def test_a_resumed_stream_goes_on_as_the_first_would_have(store, limit) -> None:
    whole = list(stream(store, limit, epochs=2))
    for n in (0, 1, 4, 5, 9, len(whole) // 2, len(whole) // 2 + 1, len(whole) - 1, len(whole)):
        begun = stream(store, limit, epochs=2)
        for _ in range(n):
            next(begun)
        position = from_json(BatchPosition, to_json(begun.position()))
        rest = list(stream(store, limit, epochs=2, start=position))
        assert len(rest) == len(whole) - n
        assert all(torch.equal(a, b) for a, b in zip(rest, whole[n:], strict=True))


@each_limit
def test_held_out_documents_never_appear(store, limit) -> None:
    held_out = set(fingerprints(store.read(store.rows("held_out"), "layers.1")))
    train = set(fingerprints(store.read(store.rows("train"), "layers.1")))
    seen = set(fingerprints(torch.cat(list(stream(store, limit)))))
    assert held_out and seen == train and not seen & (held_out - train)


def test_a_shuffle_mixes_shards_and_documents(store) -> None:
    x_ND = store.read(store.rows("train"), "layers.1")
    places = {row.numpy().tobytes(): i for i, row in enumerate(x_ND)}
    for limit in (WHOLE, TIGHT):
        order = np.array([places[row.numpy().tobytes()] for row in torch.cat(list(stream(store, limit)))])
        neighbours = np.abs(np.diff(order)) <= 1
        assert neighbours.mean() < 0.05
        assert np.unique(np.asarray(store.shard_of(order[:32]))).size >= 2


def test_without_a_number_of_epochs_the_stream_does_not_end(store) -> None:
    endless = stream(store, WHOLE, epochs=None)
    n = endless.n_batches
    taken = list(itertools.islice(endless, 3 * n + 1))
    assert len(taken) == 3 * n + 1
    assert endless.position() == BatchPosition(epoch=3, batch=1)


def test_types_are_converted(store) -> None:
    assert next(stream(store, WHOLE)).dtype == torch.float32
    assert next(stream(store, TIGHT, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_the_store_is_read_once_per_epoch_when_it_does_not_fit(store, monkeypatch) -> None:
    read: list[int] = []
    plain = ActivationStore.read

    def counted(self, rows, *arguments, **settings):
        read.append(len(rows))
        return plain(self, rows, *arguments, **settings)

    monkeypatch.setattr(ActivationStore, "read", counted)
    list(stream(store, TIGHT))
    assert sum(read) == len(store.rows("train"))


def test_bad_settings_are_refused(store) -> None:
    for wrong in ({"batch_size": 0}, {"seed": -1}, {"limit": 0.0}):
        with pytest.raises(ConfigError, match="out of range"):
            stream(store, **{"limit": WHOLE, **wrong})
    with pytest.raises(ConfigError, match="none is named"):
        stream(store, WHOLE, hookpoint=None)


def test_an_empty_split_says_what_to_do(tmp_path) -> None:
    store = make_store(tmp_path / "a", n_tokens=40)
    empty = "held_out" if not len(store.rows("held_out")) else "train"
    with pytest.raises(ConfigError, match=rf"no rows in its {empty} split .*max_document_chars"):
        stream(store, WHOLE, split=empty)


def test_a_store_streams_its_training_rows_from_a_position_in_json(store) -> None:
    begun = store.stream(batch_size=32, hookpoint="layers.1", seed=3, epochs=1)
    for _ in range(5):
        next(begun)
    rest = store.stream(batch_size=32, hookpoint="layers.1", seed=3, epochs=1, position=to_json(begun.position()))
    expected = list(stream(store, WHOLE, seed=3))[5:]
    assert all(torch.equal(a, b) for a, b in zip(rest, expected, strict=True))
