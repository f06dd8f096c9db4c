"""A small GPT-2 trained on a random language into a folder that `load_model` opens.

Knows nothing of laws, events or probabilities.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.training import Schedule, train_network
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.models.load import load_model
from bathyscope.models.model import Model
from bathyscope.risk.worlds.gpt2 import Shape, new_network, save_network
from bathyscope.risk.worlds.language import Language, RandomLanguageSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings:
    """Settings of `train_small_network`."""

    language: RandomLanguageSettings = field(default_factory=RandomLanguageSettings)
    """What it reads."""
    n_layers: int = 2
    """Blocks of the network."""
    d_model: int = 64
    """Width of the residual stream."""
    n_heads: int = 4
    """Attention heads of each block."""
    d_hidden: int = 256
    """Hidden units of each MLP (GELU)."""
    n_positions: int = 8
    """Tokens of every text it reads, and the most that it can be given."""
    n_steps: int = 400
    """Steps of AdamW."""
    batch_size: int = 128
    """Texts per step, each drawn anew."""
    lr: float = 1e-2
    """Highest learning rate: rises over the first 50 steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.01
    """Decay of matrices; biases and gains have none."""
    seed: int = 0
    """Seed of the start weights and of the texts."""
    checkpoint_every: int = 100
    """Steps between checkpoints and lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        if self.n_positions < 2 or self.batch_size < 1:
            raise ConfigError("a network reads at least 2 tokens of at least one text per step")
        _ = self.shape, self.schedule  # which refuse sizes, steps and rates that are none

    @property
    def shape(self) -> Shape:
        """Its sizes."""
        return Shape(
            n_vocabulary=self.language.n_vocabulary,
            n_positions=self.n_positions,
            n_layers=self.n_layers,
            d_model=self.d_model,
            n_heads=self.n_heads,
            d_hidden=self.d_hidden,
        )

    @property
    def schedule(self) -> Schedule:
        """Its steps."""
        return Schedule(
            n_steps=self.n_steps, lr=self.lr, weight_decay=self.weight_decay, checkpoint_every=self.checkpoint_every
        )


def train_small_network(settings: NetworkSettings, *, out: Path) -> Model:
    """The network in folder `out` (kind `model`), trained there first if it is not; resumes at a checkpoint."""
    recipe = Recipe(kind="model", config=settings, seed=settings.seed)
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            network = new_network(settings.shape, seed=settings.seed).train()
            lesson = _Lesson(settings, network)
            train_network(
                network, settings.schedule, loss=lesson.loss, figures=dict[str, float], stage="network", work=work
            )
            save_network(network, [str(token) for token in range(settings.language.n_vocabulary)], work.path)
    return load_model(out)


class _Lesson:
    """The texts of each step."""

    def __init__(self, settings: NetworkSettings, network: Any) -> None:
        self._settings, self._network = settings, network
        self._language = Language(settings.language)

    def loss(self, step: int) -> Tensor:
        """Cross-entropy of every token but the first, on this step's own texts."""
        seed = own_seed(f"risk network texts {step}", self._settings.seed)
        tokens_BS = self._language.sample(
            self._settings.batch_size, self._settings.n_positions, generator=torch.Generator().manual_seed(seed)
        )
        logits_BSV = self._network(input_ids=tokens_BS[:, :-1], use_cache=False).logits
        return nn.functional.cross_entropy(logits_BSV.flatten(0, 1), tokens_BS[:, 1:].flatten())
