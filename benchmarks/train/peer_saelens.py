"""SAELens' own trainer at its defaults; runs in its environment."""

import importlib.metadata
from typing import Any

import torch
from sae_lens import (
    BatchTopKTrainingSAE,
    BatchTopKTrainingSAEConfig,
    JumpReLUTrainingSAE,
    JumpReLUTrainingSAEConfig,
    StandardTrainingSAE,
    StandardTrainingSAEConfig,
    TopKTrainingSAE,
    TopKTrainingSAEConfig,
)
from sae_lens.config import SAETrainerConfig
from sae_lens.training.sae_trainer import SAETrainer
from train.task import Task


def versions() -> dict[str, str]:
    """Of the package."""
    return {"sae-lens": importlib.metadata.version("sae-lens")}


def build(task: Task, sample_ND: torch.Tensor, variant: str) -> "Trainer":
    """A trainer, as its runner would make it."""
    return Trainer(task)


class Trainer:
    """Its trainer, whose `step` is the step."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        sae = _sae(task)
        samples = {"total_training_samples": task.n_steps * task.batch, "train_batch_size_samples": task.batch}
        config = SAETrainerConfig(**samples, lr_end=SAETrainerConfig.lr / 10)
        self.trainer: Any = SAETrainer(cfg=config, sae=sae, data_provider=iter(()))
        own = {name: value for name, value in sae.cfg.to_dict().items() if name != "metadata"}
        self.settings = {"sae": own, "lr": config.lr, "lr_scheduler": config.lr_scheduler_name}

    def step(self, x_ND: torch.Tensor) -> torch.Tensor:
        """What its `fit` does with a batch, without logging."""
        self.trainer.maybe_reset_sparsity()
        out = self.trainer.step(x_ND)
        self.trainer.n_training_steps += 1
        return out.loss.detach()

    def figures(self) -> dict[str, float]:
        """None."""
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        """Of its TopK dictionary, as it would save them for inference (decoder rows of length 1)."""
        sae = self.trainer.sae
        found = {name: tensor.detach().clone() for name, tensor in sae.state_dict().items()}
        sae.process_state_dict_for_saving_inference(found)
        return {name: found[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")}


def _sae(task: Task) -> Any:
    sizes = {"d_in": task.d_model, "d_sae": task.n_features}
    match task.kind:
        case "topk":
            return TopKTrainingSAE(TopKTrainingSAEConfig(**sizes, k=task.k))
        case "batchtopk":
            return BatchTopKTrainingSAE(BatchTopKTrainingSAEConfig(**sizes, k=float(task.k)))
        case "l1":
            return StandardTrainingSAE(StandardTrainingSAEConfig(**sizes))
        case "jumprelu":
            return JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**sizes))
