"""A random GPT-2 whose likeliest tokens are many, in a model folder: no training."""

from pathlib import Path

import torch

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.risk.worlds.gpt2 import Shape, new_network, save_network


def random_folder(out: Path, *, n_layers: int = 1, seed: int = 0) -> Path:
    """`out`, a finished folder of kind `model`."""
    shape = Shape(n_vocabulary=24, n_positions=6, n_layers=n_layers, d_model=8, n_heads=2, d_hidden=12)
    with artifacts.draft(out, Recipe(kind="model", config={"n_layers": n_layers}, seed=seed)) as work:
        network = new_network(shape, seed=seed)
        generator = torch.Generator().manual_seed(seed)
        for parameter in network.parameters():
            parameter.data += 0.4 * torch.randn(parameter.shape, generator=generator)
        save_network(network, [str(token) for token in range(24)], work.path)
    return out
