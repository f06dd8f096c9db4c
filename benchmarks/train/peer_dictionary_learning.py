"""dictionary_learning's own trainers at their defaults; runs in its environment.

Settings of schedules that its checks refuse for runs as short as these (warm-up longer than the run) are shortened to a
tenth of the run.
"""

import importlib.metadata
from typing import Any

import torch
from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from train.task import Task

TRAINERS = {"topk": TopKTrainer, "batchtopk": BatchTopKTrainer, "l1": StandardTrainer, "jumprelu": JumpReluTrainer}
WARM_UP, SPARSITY_WARM_UP = 1000, 2000
"""Its defaults, in steps."""


def versions() -> dict[str, str]:
    """Of the package."""
    return {"dictionary-learning": importlib.metadata.version("dictionary-learning")}


def build(task: Task, sample_ND: torch.Tensor, variant: str) -> "Trainer":
    """A trainer, as its `trainSAE` would make it."""
    return Trainer(task)


class Trainer:
    """One of its trainers, whose `update` is the step."""

    def __init__(self, task: Task) -> None:
        own: dict[str, Any] = {"k": task.k} if task.kind in ("topk", "batchtopk") else {}
        if task.n_steps <= WARM_UP:
            own["warmup_steps"] = task.n_steps // 10
        if task.kind in ("l1", "jumprelu") and task.n_steps <= SPARSITY_WARM_UP:
            own["sparsity_warmup_steps"] = task.n_steps // 10
        if task.kind == "jumprelu":
            own["target_l0"] = float(task.l0)
        sizes = {"steps": task.n_steps, "activation_dim": task.d_model, "dict_size": task.n_features}
        names = {"layer": 0, "lm_name": "benchmark", "device": "cpu", "seed": task.seed}
        self.trainer: Any = TRAINERS[task.kind](**sizes, **names, **own)
        self.settings = {name: value for name, value in self.trainer.config.items() if _is_plain(value)}
        self.done, self.last = 0, torch.zeros(())
        self._loss = self.trainer.loss
        self.trainer.loss = self._kept_loss  # its L1 trainer does not return the loss

    def step(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Its `update`."""
        self.trainer.update(self.done, x_ND)
        self.done += 1
        return self.last

    def figures(self) -> dict[str, float]:
        """None."""
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        """Of its TopK dictionary."""
        ae = self.trainer.ae
        return {"W_enc": ae.encoder.weight.T, "b_enc": ae.encoder.bias, "W_dec": ae.decoder.weight.T, "b_dec": ae.b_dec}

    def _kept_loss(self, *given: Any, **named: Any) -> Any:
        loss = self._loss(*given, **named)
        self.last = loss.detach()
        return loss


def _is_plain(value: Any) -> bool:
    return isinstance(value, int | float | str)
