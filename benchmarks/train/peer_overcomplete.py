"""overcomplete's dictionaries in its own training loop; runs in its environment.

Its package imports vision models and pictures at once; only `overcomplete.sae` is wanted here, so its parent is entered
without running what stands in the parent's `__init__`. It has no default optimiser and criterion: those of the example
on its front page, with the clipping that its loop has by default; what the loop monitors is switched off.
"""

import importlib.metadata
import importlib.util
import sys
from types import ModuleType
from typing import Any

import torch
from train.task import Task

_FOUND = importlib.util.find_spec("overcomplete")
assert _FOUND is not None, "this adapter runs in the environment of overcomplete"
assert _FOUND.submodule_search_locations is not None, "it is a package"
_PARENT = ModuleType("overcomplete")
_PARENT.__path__ = list(_FOUND.submodule_search_locations)
sys.modules["overcomplete"] = _PARENT

from overcomplete.sae import SAE, BatchTopKSAE, JumpSAE, TopKSAE, mse_l1, train_sae  # noqa: E402

LR, CLIP = 5e-4, 1.0


def versions() -> dict[str, str]:
    """Of the package."""
    return {"overcomplete": importlib.metadata.version("overcomplete")}


def build(task: Task, sample_ND: torch.Tensor, variant: str) -> "Trained":
    """A dictionary at its default start."""
    return Trained(task)


class Trained:
    """A dictionary, its criterion and an optimiser."""

    def __init__(self, task: Task) -> None:
        torch.manual_seed(task.seed)
        self.model = _model(task)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=LR)
        self.has_penalty, self.last = task.kind in ("l1", "jumprelu"), torch.zeros(())
        self.settings = {"optimizer": "Adam", "lr": LR, "clip_grad": CLIP, "monitoring": 0}

    def step(self, x_ND: torch.Tensor) -> torch.Tensor:
        """Its loop over one batch."""
        train_sae(self.model, [x_ND], self._criterion, self.optimiser, nb_epochs=1, clip_grad=CLIP, monitoring=0)
        return self.last

    def figures(self) -> dict[str, float]:
        """None."""
        return {}

    def weights(self) -> dict[str, torch.Tensor]:
        """Of its TopK dictionary, which has no decoder bias."""
        linear: Any = self.model.encoder.final_block[0]
        W_dec_FD = self.model.get_dictionary()
        zero_D = torch.zeros(W_dec_FD.shape[1])
        return {"W_enc": linear.weight.T, "b_enc": linear.bias, "W_dec": W_dec_FD, "b_dec": zero_D}

    def _criterion(self, x_ND: torch.Tensor, guess_ND: torch.Tensor, *others: torch.Tensor) -> torch.Tensor:
        loss = mse_l1(x_ND, guess_ND, *others) if self.has_penalty else (x_ND - guess_ND).square().mean()
        self.last = loss.detach()
        return loss


def _model(task: Task) -> Any:
    sizes = (task.d_model, task.n_features)
    match task.kind:
        case "topk":
            return TopKSAE(*sizes, top_k=task.k)
        case "batchtopk":
            return BatchTopKSAE(*sizes, top_k=task.k * task.batch)
        case "l1":
            return SAE(*sizes)
        case "jumprelu":
            return JumpSAE(*sizes)
