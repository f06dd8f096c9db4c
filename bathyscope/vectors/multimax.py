"""`MultiMax`: a probe of several heads, each of which reads a text at the token that it fires on most.

MultiMax of Kramár et al. 2026 (arXiv 2601.11516, section on probe architectures), without the network that they put
between activations and heads: heads are then directions of the activations, and can steer.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.vectors.examples import Examples
from bathyscope.vectors.learner import Learned, Lesson, toward_true


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiMax:
    """`score(text) = Σ_h max_n v_h · x_n + b`, fitted to labels of texts; the vector is `Σ_h v_h`.

    x_n are the tokens' activations, less their mean and divided by their root mean square length. The vector is the
    slope of the score where all heads read the same token. Loss: mean binary cross-entropy + weight_decay · Σ|v_h|².
    """

    n_heads: int = 4
    """H."""
    n_steps: int = 300
    """Adam steps, each on all texts."""
    lr: float = 0.01
    """Step size of Adam."""
    weight_decay: float = 0.01
    """Weight of the squared lengths."""

    def __post_init__(self) -> None:
        if min(self.n_heads, self.n_steps) < 1 or not self.lr > 0 or self.weight_decay < 0:
            raise ConfigError("n_heads and n_steps must be at least 1, lr above 0 and weight_decay at least 0")

    def learn(self, lesson: Lesson) -> Learned:
        """The sum of the heads."""
        examples, generator = lesson.examples, torch.Generator().manual_seed(lesson.seed)
        centred_ND = examples.x_ND - examples.x_ND.mean(0)
        x_ND = centred_ND / centred_ND.norm(dim=1).square().mean().sqrt().clamp_min(1e-12)
        heads_DH = torch.randn(x_ND.shape[1], self.n_heads, generator=generator) * 0.1
        bias, labels_T = torch.zeros(()), torch.from_numpy(examples.labels_T).float()
        weights = [heads_DH.requires_grad_(), bias.requires_grad_()]
        optimiser = torch.optim.Adam(weights, lr=self.lr)
        for _ in range(self.n_steps):
            optimiser.zero_grad()
            fit = torch.nn.functional.binary_cross_entropy_with_logits(
                _scores(examples, x_ND, heads_DH) + bias, labels_T
            )
            (fit + self.weight_decay * heads_DH.square().sum()).backward()
            optimiser.step()
        with torch.no_grad():
            right = (_scores(examples, x_ND, heads_DH) + bias > 0) == labels_T.bool()
            rows_MD, labels_M, _ = examples.rows(lesson.pool)
            direction_D = toward_true(heads_DH.sum(1), rows_MD, labels_M)
        return Learned(direction_D=direction_D, notes={"accuracy on the teaching half": float(right.float().mean())})


def _scores(examples: Examples, x_ND: Float[Tensor, "N D"], heads_DH: Float[Tensor, "D H"]) -> Float[Tensor, " T"]:
    return examples.pooled(x_ND @ heads_DH, "max").sum(1)
