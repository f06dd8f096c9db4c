"""Contenders in processes of their own: our step and the dense reference agree, whatever is learnt."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from train.child import Child
from train.contender import CONTENDERS
from train.quality import Exam
from train.rounds import largest_difference
from train.task import Kind, Task

D, F, N, STEPS = 16, 64, 96, 40


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    """Two batches of sparse sums."""
    generator = torch.Generator().manual_seed(0)
    codes_NF = torch.rand(2 * N, F, generator=generator) * (torch.rand(2 * N, F, generator=generator) < 0.05)
    x_ND = codes_NF @ torch.randn(F, D, generator=generator) + 0.3
    rows = tmp_path_factory.mktemp("rows") / "rows.safetensors"
    save_file({"x": x_ND}, rows)
    sizes = {"d_model": D, "n_features": F, "k": 4, "l0": 6, "batch": N, "n_steps": STEPS}
    return Task(kind="topk", **sizes, seed=0, rows=str(rows), threads=1)


@pytest.fixture(scope="module")
def children(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Child]]:
    """Ours and the reference, started once."""
    folder = tmp_path_factory.mktemp("logs")
    names = ("ours", "dense torch")
    made = {name: Child(name, log=folder / f"{name}.log", threads=1, keeps_freed=False) for name in names}
    with made["ours"], made["dense torch"]:
        yield made


@pytest.mark.parametrize("kind", ["topk", "batchtopk", "l1", "jumprelu"])
def test_ours_and_the_dense_reference_have_the_same_losses(task: Task, children: dict[str, Child], kind: Kind) -> None:
    curves: dict[str, list[float]] = {}
    for name, child in children.items():
        child.build(dataclasses.replace(task, kind=kind))
        answer = child.steps(STEPS)
        curves[name] = answer["losses"]
        assert answer["seconds"] > 0
        assert answer["bytes_peak"] >= answer["bytes_above_start"]
    assert len(set(curves["ours"])) > STEPS / 2, "something is learnt"
    assert largest_difference(curves["ours"], curves["dense torch"]) < 1e-4


def test_both_hand_over_the_same_dictionary(task: Task, children: dict[str, Child], tmp_path: Path) -> None:
    found: list[dict[str, torch.Tensor]] = []
    for number, child in enumerate(children.values()):
        child.build(task)
        child.steps(5)
        child.weights(tmp_path / f"{number}.safetensors")
        found.append(load_file(tmp_path / f"{number}.safetensors"))
    assert found[0].keys() == {"W_enc", "b_enc", "W_dec", "b_dec"}
    for name, tensor in found[0].items():
        torch.testing.assert_close(tensor, found[1][name], rtol=1e-4, atol=1e-5)


def test_l1_begins_with_the_features_per_token_that_were_asked(task: Task, children: dict[str, Child]) -> None:
    children["ours"].build(dataclasses.replace(task, kind="l1"))
    assert children["ours"].steps(1)["figures"]["l0"] == pytest.approx(task.l0, rel=0.05)


def test_a_contender_that_fails_says_why(task: Task, children: dict[str, Child]) -> None:
    with pytest.raises(SystemExit, match=r"ours failed(.|\n)*nowhere"):
        children["ours"].build(dataclasses.replace(task, rows="nowhere.safetensors"))


def test_a_worker_ends_in_the_middle_of_steps_when_nobody_listens_any_more(task: Task, tmp_path: Path) -> None:
    with Child("dense torch", log=tmp_path / "log", threads=1, keeps_freed=False) as child:
        child.build(task)
        asked = child._process.stdin
        assert asked is not None
        asked.write(json.dumps({"do": "steps", "n": 200_000}) + "\n")  # minutes
        asked.close()
        assert child._process.wait(timeout=30) == 0


def test_peers_are_named_after_packages_that_are_pinned() -> None:
    pinned = Path(__file__).parents[2] / "benchmarks" / "interop"
    packages = {entry.package for entry in CONTENDERS.values() if entry.package is not None}
    for package in packages:
        lines = (pinned / f"{package}.txt").read_text().splitlines()
        assert any(line.startswith(f"{package}==") for line in lines), package


def test_figures_of_a_dictionary_that_is_exact_are_those_of_perfect_reconstruction(tmp_path: Path) -> None:
    weights = {"W_enc": torch.eye(4), "b_enc": torch.zeros(4), "W_dec": torch.eye(4), "b_dec": torch.zeros(4)}
    save_file(weights, tmp_path / "exact.safetensors")
    exam = Exam(_Rows(), scale=2.0, n_rows=3, n_dead_rows=3, k=1)
    figures = exam.figures(tmp_path / "exact.safetensors", is_last=True)
    assert figures.unexplained == pytest.approx(0.0, abs=1e-12)
    assert figures.l0 == 1.0
    assert figures.dead_share == 0.25


class _Rows:
    """Three of four directions, in the shape of a store."""

    def rows(self, split: str) -> object:
        return torch.arange(3).numpy()

    def read(self, rows: object) -> torch.Tensor:
        return torch.eye(4)[:3][torch.as_tensor(rows)]
