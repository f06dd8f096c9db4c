"""sparsify's `SparseCoder` under its default optimiser, or Adam (variant `adam`); runs in its environment.

Its `Trainer` runs a language model inside the loop. Here the same things are done with stored activations, in the order
of its `fit` and with the settings of its `TrainConfig`: bias from the first batch, unit rows, forward, backward,
projection, optimiser, count of silent features.
"""

import importlib.metadata
from typing import Any

import torch
from schedulefree import ScheduleFreeWrapper
from sparsify import SparseCoder, SparseCoderConfig, TrainConfig
from sparsify.sign_sgd import SignSGD
from train.task import Task
from transformers import get_linear_schedule_with_warmup

SIGNUM_LR, ADAM_LR, OF_LATENTS = 5e-3, 2e-4, 2**14
"""Its rates for 16,384 latents; they fall with the root of the number."""


def versions() -> dict[str, str]:
    """Of the package."""
    return {"eai-sparsify": importlib.metadata.version("eai-sparsify")}


def build(task: Task, sample_ND: torch.Tensor, variant: str) -> "Coder":
    """A coder at its default start."""
    return Coder(task, "adam" if variant == "adam" else "signum")


class Coder:
    """A coder, its optimiser and its counts."""

    def __init__(self, task: Task, optimiser: str) -> None:
        torch.manual_seed(task.seed)
        sae = SparseCoderConfig(num_latents=task.n_features, k=task.k)
        self.config = TrainConfig(sae=sae, optimizer=optimiser)
        self.coder = SparseCoder(task.d_model, sae, "cpu", dtype=torch.float32)
        self.silent_F = torch.zeros(task.n_features, dtype=torch.long)
        self.fired_F = torch.zeros(task.n_features, dtype=torch.bool)
        self.schedule: Any = None
        root = (task.n_features / OF_LATENTS) ** 0.5
        if optimiser == "adam":
            rate = ADAM_LR / root
            self.optimiser: Any = torch.optim.Adam([{"params": self.coder.parameters(), "lr": rate}])
            warm_up = min(self.config.lr_warmup_steps, task.n_steps // 10)
            self.schedule = get_linear_schedule_with_warmup(self.optimiser, warm_up, task.n_steps)
        else:
            rate, warm_up = SIGNUM_LR / root, 0
            self.optimiser = ScheduleFreeWrapper(
                SignSGD([{"params": self.coder.parameters(), "lr": rate}]), momentum=0.95
            )
            self.optimiser.train()
        self.settings = {
            "optimizer": optimiser,
            "lr": rate,
            "warm_up_steps": warm_up,
            "auxk_alpha": self.config.auxk_alpha,
            "k": task.k,
        }
        self.done = 0

    def step(self, x_ND: torch.Tensor) -> torch.Tensor:
        """One batch of its `fit`."""
        if self.done == 0:
            self.coder.b_dec.data = x_ND.mean(0)
        self.coder.set_decoder_norm_to_unit_norm()
        variance = (x_ND - x_ND.mean(0)).pow(2).sum()
        out = self.coder(x=x_ND, y=x_ND, dead_mask=None, total_variance=variance)
        self.fired_F[out.latent_indices.flatten()] = True
        loss = out.fvu + self.config.auxk_alpha * out.auxk_loss + out.multi_topk_fvu / 8
        loss.backward()
        self.coder.remove_gradient_parallel_to_decoder_directions()
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.schedule is not None:
            self.schedule.step()
        with torch.no_grad():
            self.silent_F += len(x_ND)
            self.silent_F[self.fired_F] = 0
            self.fired_F.zero_()
        self.done += 1
        return loss.detach()

    def figures(self) -> dict[str, float]:
        """None."""
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        """As it would save them: the averaged weights of its default optimiser."""
        if self.schedule is None:
            self.optimiser.eval()
        coder = self.coder
        found = {
            "W_enc": coder.encoder.weight.T,
            "b_enc": coder.encoder.bias,
            "W_dec": coder.W_dec,
            "b_dec": coder.b_dec,
        }
        found = {name: tensor.detach().clone() for name, tensor in found.items()}
        if self.schedule is None:
            self.optimiser.train()
        return found
