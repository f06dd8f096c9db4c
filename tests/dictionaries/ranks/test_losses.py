"""Training by several processes: the losses, features and bytes of one process, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from dictionaries.planted import FakeStore, world
from ranks import run_ranks, said

from bathyscope.dictionaries.batch_topk import BatchTopK
from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.dictionaries.kinds import Kind
from bathyscope.dictionaries.relu import ReLU
from bathyscope.dictionaries.topk import TopK
from bathyscope.dictionaries.train import TrainSettings, train
from bathyscope.launch.group import joined

D, F = 16, 48
WORLD = world(n_true=F, d_model=D, n_tokens=1100)
QUICK = TrainSettings(batch_size=128, epochs=2, log_every=1, checkpoint_seconds=0.0, start_rows=512)
KINDS: dict[str, Kind] = {
    "topk": TopK(n_features=F, k=3, dead_after_tokens=100, k_aux=5),
    "multi": TopK(n_features=F, k=3, multi_k=30, aux_coefficient=0.0, k_anneal=0.5),
    "batchtopk": BatchTopK(n_features=F, k=3, dead_after_tokens=100, k_aux=4),
    "relu": ReLU(n_features=F, l0=4),
}
TOLERANCE = 2e-4
"""Relative difference of losses after 18 steps: sums in another order, passed on by Adam from step to step."""


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def together(store: FakeStore, out: Path, *, columns: int) -> Callable[[], None]:
    def work() -> None:
        with joined(feature_ranks=columns) as mesh:
            for name, kind in KINDS.items():
                train(store, kind, out=out / name, settings=QUICK, mesh=mesh)

    return work


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> FakeStore:
    return FakeStore(tmp_path_factory.mktemp("store") / "activations", WORLD.x_ND)


@pytest.fixture(scope="module")
def alone(store, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for name, kind in KINDS.items():
        train(store, kind, out=folder / name, settings=QUICK)
    return folder


@pytest.mark.parametrize(("n_ranks", "columns"), [(2, 1), (2, 2), (4, 2)])
def test_several_processes_learn_what_one_learns(n_ranks, columns, store, alone, tmp_path):
    assert run_ranks(n_ranks, together(store, tmp_path, columns=columns), tmp_path) == [0] * n_ranks, said(tmp_path)
    for name in KINDS:
        one, several = rows(alone / name), rows(tmp_path / name)
        assert [set(line) for line in one] == [set(line) for line in several]
        for before, after in zip(one, several, strict=True):
            assert after == pytest.approx(before, rel=TOLERANCE, abs=1e-6), name
        assert len({line["dead_share"] for line in one}) > 1 or name != "topk", "features die, so that they are revived"
        mine, theirs = load_dictionary(alone / name), load_dictionary(tmp_path / name)
        assert theirs.kind == mine.kind
        torch.testing.assert_close(theirs.W_dec, mine.W_dec, rtol=0, atol=2e-3)
        chosen, asked = (found.encode(WORLD.x_ND).dense() != 0 for found in (theirs, mine))
        assert float((chosen != asked).float().mean()) < 1e-3, name
