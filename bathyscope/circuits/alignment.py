"""Aligned subspaces: learnt by gradient so that exchanging them does to the answer what exchanging a variable would.

L = -log p(wanted answer | base run with Q x_source in place of Q x_base),  Q orthonormal, the network fixed
    (distributed alignment search, Geiger et al. 2023, arXiv 2303.02536)

A subspace that was learnt on some pairs means something only by its score on others, beside the score of a subspace
learnt in the same way for a variable that does not exist.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope import progress
from bathyscope.circuits.interchange import Exchanges, answer_logits
from bathyscope.circuits.subspace import Site, Subspace, activations_at, orthonormal
from bathyscope.errors import ConfigError
from bathyscope.models.model import Model


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignSettings:
    """Settings of `align`."""

    rank: int = 1
    """R, dimensions of the subspace at each position."""
    n_steps: int = 300
    """Steps of Adam."""
    batch_size: int = 256
    """Exchanges per step, drawn at random."""
    lr: float = 0.03
    """Learning rate of the basis, falling to 0 in a straight line."""
    seed: int = 0
    """Seed of the start and of the order of pairs."""

    def __post_init__(self) -> None:
        if min(self.rank, self.n_steps, self.batch_size) < 1 or self.lr <= 0:
            raise ConfigError("rank, n_steps, batch_size and lr must be positive")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Aligned:
    """A subspace that was learnt."""

    subspace: Subspace
    """It."""
    loss: float
    """Mean cross-entropy of the wanted answers over the last tenth of the steps, in nats per token."""


def align(
    model: Model,
    site: Site,
    among: Exchanges,
    settings: AlignSettings,
    *,
    start_QRD: Float[Tensor, "Q R D"] | None = None,
) -> Aligned:
    """The subspace of the site whose exchange makes the wanted answers of `among` most likely.

    The basis is the Q factor of free parameters [Q, R, D] (random, or beginning at `start_QRD`), learnt by gradient
    through the network, whose weights stay as they are.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    x_PQD = activations_at(model, site, among.source_PS)
    if start_QRD is None:
        start_QRD = torch.randn(len(site.positions), settings.rank, x_PQD.shape[2], generator=generator)
    free_QRD = nn.Parameter(orthonormal(start_QRD).contiguous())
    adam, losses = torch.optim.Adam([free_QRD], lr=settings.lr), list[Tensor]()
    for step in range(settings.n_steps):
        adam.param_groups[0]["lr"] = settings.lr * (1 - step / settings.n_steps)
        chosen_M = torch.randint(len(among), (settings.batch_size,), generator=generator)
        part = among[chosen_M]
        logits_MAV = answer_logits(model, Subspace(site, orthonormal(free_QRD)), part, x_PQD[chosen_M])
        loss = nn.functional.cross_entropy(logits_MAV.flatten(0, 1), part.wanted_PA.flatten())
        adam.zero_grad()
        loss.backward()
        adam.step()
        losses.append(loss.detach())
        if step % 50 == 49:
            progress.report("align", step + 1, settings.n_steps, "steps", loss=float(loss.detach()))
    last = torch.stack(losses[-max(1, settings.n_steps // 10) :])
    return Aligned(subspace=Subspace(site, orthonormal(free_QRD.detach())), loss=float(last.double().mean()))


def overlap(one: Subspace, other: Subspace) -> float:
    """How much two subspaces share: mean squared cosine of their principal angles, 0 to 1, averaged over positions.

    Two random subspaces of rank R in D dimensions share R / D. Raises ConfigError for different sites or ranks.
    """
    if one.site != other.site or one.rank != other.rank:
        raise ConfigError("only subspaces of one site and one rank can be compared")
    cosine_QRR = one.basis_QRD @ other.basis_QRD.transpose(1, 2)
    return float(cosine_QRR.double().square().sum((1, 2)).mean() / one.rank)
