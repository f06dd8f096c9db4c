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

APART = 10_007
"""Added to a world's seed: rows that a kind draws from the same seed would otherwise be the true features."""


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
    generator = torch.Generator().manual_seed(seed + APART)
    truth_GD = torch.nn.functional.normalize(torch.randn(n_true, d_model, generator=generator), dim=1)
    is_active = torch.rand(n_tokens, n_true, generator=generator) < p_active
    amounts = 0.5 + torch.rand(n_tokens, n_true, generator=generator)
    offset = 0.3 * torch.randn(d_model, generator=generator)
    return World(truth_GD, 4 * (is_active * amounts) @ truth_GD + offset)


def mapped_world(*, n_true: int, d_model: int, d_out: int = 24, n_tokens: int = 8192, seed: int = 0) -> World:
    """Batches [x | y] of a layer: `x = Σ a_i g_i + offset`, `y = Σ a_i h_i + other offset`; the truth is h."""
    read = world(n_true=n_true + d_out, d_model=d_model, n_tokens=n_tokens, seed=seed)
    generator = torch.Generator().manual_seed(seed + 1 + APART)
    is_active = torch.rand(n_tokens, n_true, generator=generator) < 0.05
    amounts = is_active * (0.5 + torch.rand(n_tokens, n_true, generator=generator))
    truth_GO = torch.nn.functional.normalize(torch.randn(n_true, d_out, generator=generator), dim=1)
    x_ND = 4 * amounts @ read.truth_GD[:n_true] + read.x_ND.mean(0)
    return World(truth_GO, torch.cat([x_ND, 0.3 * amounts @ truth_GO - 0.1], dim=1))


def neighbours(
    *, n_true: int = 64, d_model: int = 32, n_tokens: int = 8192, p_active: float = 0.05, seed: int = 0
) -> World:
    """Batches [previous token | token] of a text: the first fifth of the features is slow, the others are fast.

    A slow feature is as in the token before in nine of ten tokens; a fast one is drawn anew. All are equally frequent.
    """
    generator = torch.Generator().manual_seed(seed + 977)
    truth_GD = torch.nn.functional.normalize(torch.randn(n_true, d_model, generator=generator), dim=1)
    before, after = torch.rand(2, n_tokens, n_true, generator=generator) < p_active
    stays = torch.rand(n_tokens, n_true, generator=generator) < 0.9
    after = torch.where(stays & (torch.arange(n_true) < n_true // 5), before, after)
    offset = 0.3 * torch.randn(d_model, generator=generator)
    amounts = 0.5 + torch.rand(2, n_tokens, n_true, generator=generator)
    return World(
        truth_GD, torch.cat([4 * (a * b) @ truth_GD + offset for a, b in zip((before, after), amounts, strict=True)], 1)
    )


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


@dataclass(frozen=True)
class TwoModels:
    """Batches [base | chat] of two models with the same directions; each feature has its own strength in base."""

    truth_GD: Tensor
    """Unit directions, the same in both models."""
    base_G: Tensor
    """Strength of each feature in base, where it is 1 in chat: 1 is shared, 0 is only in chat."""
    x_NW: Tensor

    def batches(self, size: int) -> list[Tensor]:
        return list(self.x_NW.split(size))


def two_models(strengths: list[float], *, d_model: int = 32, n_tokens: int = 8192, seed: int = 0) -> TwoModels:
    """Features as in `world`, as many as there are strengths; a feature of strength s has s times its size in base."""
    generator = torch.Generator().manual_seed(seed + APART)
    base_G = torch.tensor(strengths)
    truth_GD = torch.nn.functional.normalize(torch.randn(len(base_G), d_model, generator=generator), dim=1)
    is_active = torch.rand(n_tokens, len(base_G), generator=generator) < 0.05
    amounts_NG = 4 * is_active * (0.5 + torch.rand(n_tokens, len(base_G), generator=generator))
    base_ND, chat_ND = (amounts_NG * base_G) @ truth_GD - 0.2, amounts_NG @ truth_GD + 0.3
    return TwoModels(truth_GD, base_G, torch.cat([base_ND, chat_ND], dim=1))
