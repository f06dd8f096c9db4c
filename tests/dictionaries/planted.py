"""Tiny worlds whose features are known, and a store made of them."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe


@dataclass(frozen=True)
class World:
    """Activations `x = Σ a_i g_i + offset` with sparse positive a_i."""

    truth_GD: Tensor
    """Unit directions of the true features."""
    x_ND: Tensor
    """Activations."""

    def batches(self, size: int) -> list[Tensor]:
        return list(self.x_ND.split(size))


def world(*, n_true: int = 64, d_model: int = 32, n_tokens: int = 8192, p_active: float = 0.05, seed: int = 0) -> World:
    generator = torch.Generator().manual_seed(seed)
    truth_GD = torch.nn.functional.normalize(torch.randn(n_true, d_model, generator=generator), dim=1)
    is_active = torch.rand(n_tokens, n_true, generator=generator) < p_active
    amounts = 0.5 + torch.rand(n_tokens, n_true, generator=generator)
    offset = 0.3 * torch.randn(d_model, generator=generator)
    return World(truth_GD, 4 * (is_active * amounts) @ truth_GD + offset)


def matched_cosine(W_dec_FD: Tensor, truth_GD: Tensor) -> float:
    """Mean |cosine| over a greedy one-to-one matching (at most what the best assignment gives)."""
    cosines = (torch.nn.functional.normalize(W_dec_FD, dim=1) @ truth_GD.T).abs()
    found = []
    for _ in range(min(cosines.shape)):
        best = int(cosines.argmax())
        row, column = divmod(best, cosines.shape[1])
        found.append(float(cosines[row, column]))
        cosines[row], cosines[:, column] = -1, -1
    return sum(found) / len(found)


class FakeStream:
    """Endless shuffled batches with a position."""

    def __init__(self, x_ND: Tensor, batch_size: int, seed: int, position: Any) -> None:
        self.x_ND, self.batch_size, self.seed = x_ND, batch_size, seed
        self.epoch, self.row = position or (0, 0)

    def __iter__(self) -> Iterator[Tensor]:
        return self

    def __next__(self) -> Tensor:
        if self.row >= len(self.x_ND):
            self.epoch, self.row = self.epoch + 1, 0
        generator = torch.Generator().manual_seed(self.seed * 1000 + self.epoch)
        order = torch.randperm(len(self.x_ND), generator=generator)
        batch = self.x_ND[order[self.row : self.row + self.batch_size]]
        self.row += len(batch)
        return batch

    def position(self) -> list[int]:
        return [self.epoch, self.row]


class FakeStore:
    """What `train` asks of an activation store, over rows in memory, with a real folder as parent."""

    def __init__(self, path: Path, x_ND: Tensor) -> None:
        self.path, self._x_ND = path, x_ND
        self.model_identity: Mapping[str, str] = {"name": "tiny", "sha256": "ab" * 32}
        self.materials: tuple[Mapping[str, str], ...] = ({"name": "tiny text", "licence": "CC0"},)
        recipe = Recipe(kind="activations", config={"n": len(x_ND)}, seed=0, materials=self.materials)
        if not artifacts.is_finished(path, recipe):
            with artifacts.draft(path, recipe) as work:
                (work.path / "index.json").write_text(json.dumps({"rows": len(x_ND)}))

    def hookpoint(self, name: str | None = None) -> str:
        return name or "layers.1"

    def rows(self, split: Any = "train") -> range:
        return range(len(self._x_ND) if split == "train" else 0)

    def stream(
        self,
        *,
        batch_size: int,
        hookpoint: str | None = None,
        seed: int = 0,
        epochs: int | None = None,
        position: Any = None,
    ) -> FakeStream:
        return FakeStream(self._x_ND, batch_size, seed, position)
