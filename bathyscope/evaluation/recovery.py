"""How much of a known world a dictionary has found: its features against the true ones.

Each latent (dictionary feature) is compared with its best-matching true feature, the one with the highest |cosine|.
Figures of a dictionary without learning, and the chance of a match as good by accident, belong beside these.
"""

from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.chance import false_discoveries, match_probability
from bathyscope.evaluation.worlds.world import World

CHUNK = 2048
"""Activations compared at once."""
LEAST_BOTH = 10
"""Tokens on which a child fires below which its pair says nothing about absorption."""
MATCHED = 0.5
"""|cosine| from which a latent counts as a part of a split feature."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """Figures of one dictionary on one world. Shares from 0 to 1 but for `l0` and `absorption`."""

    f1: float
    """Mean over latents of the F1 of "latent fires" as a detector of "its true feature fires"; 0 where undefined."""
    precision: float
    """Mean over latents: share of a latent's firings on which its true feature fires."""
    recall: float
    """Mean over latents: share of the true feature's firings on which the latent fires."""
    mcc: float
    """Mean |cosine| of latents and true features over the best one-to-one assignment (of the fewer of the two)."""
    uniqueness: float
    """Number of different best-matching true features over number of latents."""
    variance_explained: float
    """`1 - Σ‖x - x̂‖² / Σ‖x - x̄‖²`."""
    beyond_chance: float
    """Share of latents whose match is better than chance (Benjamini–Hochberg at 5 %, see `chance`)."""
    absorption: float
    """Mean over parent–child pairs: how much more often the parent's latent is silent where the child and its latent
    fire than where the parent fires without children. 0 is none; NaN where no such pair was found."""
    splitting: float
    """Share of the true features found whose latents are two or more (|cosine| of at least .5)."""
    hedging: float
    """Mean over latents of the share of weight on relatives of its true feature (parent and children), from regressing
    the decoder row on these directions; NaN where no latent's feature has relatives."""
    l0: float
    """Mean number of latents active per token."""
    dead: float
    """Share of latents that never fire on the sample."""


FIGURES = tuple(field.name for field in fields(Recovery))
"""Names of the figures, in order."""


def recovery(dictionary: Dictionary, world: World, *, n_tokens: int = 20_000, seed: int = 1_000_003) -> Recovery:
    """Compare `dictionary` with the true features of `world`, on `n_tokens` fresh activations drawn from `seed`.

    Raises ConfigError for another width. Memory: a chunk of activations times latents and times true features.
    """
    if dictionary.d_model != world.settings.d_model:
        raise ConfigError(
            f"the dictionary reads width {dictionary.d_model}, the world has width {world.settings.d_model}"
        )
    cosines_FG = _unit(dictionary.W_dec) @ world.directions_GD.T
    best_F = cosines_FG.abs().argmax(1)
    counts = _count(dictionary, world, _pairs(world, cosines_FG, best_F), best_F, n_tokens=n_tokens, seed=seed)
    true_F, fires_F, both_F = counts.true_F, counts.fires_F, counts.both_F
    cosine_F = cosines_FG.abs().gather(1, best_F[:, None])[:, 0]
    chance_F = match_probability(cosine_F, n_true=world.settings.n_true, d_model=world.settings.d_model)
    return Recovery(
        f1=_mean(2 * both_F / (fires_F + true_F).clamp_min(1)),
        precision=_mean(both_F / fires_F.clamp_min(1)),
        recall=_mean(both_F / true_F.clamp_min(1)),
        mcc=mean_matched_cosine(cosines_FG),
        uniqueness=len(best_F.unique()) / len(best_F),
        variance_explained=counts.variance_explained,
        beyond_chance=float((~false_discoveries(chance_F)).double().mean()),
        absorption=counts.absorption(),
        splitting=_splitting(best_F, cosine_F),
        hedging=_hedging(dictionary.W_dec, world, best_F),
        l0=float(fires_F.sum()) / n_tokens,
        dead=float((fires_F == 0).double().mean()),
    )


def mean_matched_cosine(cosines_FG: Float[Tensor, "F G"]) -> float:
    """Mean |cosine| over the best one-to-one assignment of min(F, G) pairs (Hungarian algorithm)."""
    from scipy.optimize import linear_sum_assignment

    sizes = cosines_FG.abs().cpu().numpy()
    rows, columns = linear_sum_assignment(sizes, maximize=True)
    return float(sizes[rows, columns].mean())


@dataclass(slots=True, kw_only=True)
class _Counts:
    """Sums over the sample."""

    fires_F: Tensor
    true_F: Tensor
    both_F: Tensor
    child_Q: Tensor
    absorbed_Q: Tensor
    alone_Q: Tensor
    missed_Q: Tensor
    variance_explained: float = 0.0

    def absorption(self) -> float:
        """Mean over pairs with enough tokens, see `Recovery.absorption`."""
        enough_Q = (self.child_Q >= LEAST_BOTH) & (self.alone_Q >= LEAST_BOTH)
        if not bool(enough_Q.any()):
            return float("nan")
        excess_Q = self.absorbed_Q / self.child_Q.clamp_min(1) - self.missed_Q / self.alone_Q.clamp_min(1)
        return float(excess_Q[enough_Q].mean())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pairs:
    """Parent–child pairs whose parent has a latent of its own."""

    parent_Q: Int[Tensor, " Q"]
    child_Q: Int[Tensor, " Q"]
    parent_latent_Q: Int[Tensor, " Q"]
    child_latent_Q: Int[Tensor, " Q"]
    """The child's own latent."""


def _pairs(world: World, cosines_FG: Tensor, best_F: Tensor) -> _Pairs:
    """A true feature's own latent is the nearest of those that match it best."""
    latent_G = torch.full((world.settings.n_true,), -1, dtype=torch.int64, device=best_F.device)
    cosine_F = cosines_FG.abs().gather(1, best_F[:, None])[:, 0]
    order = cosine_F.argsort()
    latent_G[best_F[order]] = order
    parents_G = world.parents_G.to(best_F.device)
    children = (parents_G >= 0).nonzero()[:, 0]
    children = children[(latent_G[children] >= 0) & (latent_G[parents_G[children]] >= 0)]
    parent = parents_G[children]
    return _Pairs(
        parent_Q=parent, child_Q=children, parent_latent_Q=latent_G[parent], child_latent_Q=latent_G[children]
    )


def _count(dictionary: Dictionary, world: World, pairs: _Pairs, best_F: Tensor, *, n_tokens: int, seed: int) -> _Counts:
    """One pass over the sample."""
    f, q, device = dictionary.n_features, len(pairs.child_Q), best_F.device
    counts = _Counts(
        **{name: torch.zeros(f, dtype=torch.float64, device=device) for name in ("fires_F", "true_F", "both_F")},
        **{
            name: torch.zeros(q, dtype=torch.float64, device=device)
            for name in ("child_Q", "absorbed_Q", "alone_Q", "missed_Q")
        },
    )
    generator = torch.Generator(world.device).manual_seed(seed)
    error, square, sum_D = 0.0, 0.0, torch.zeros(world.settings.d_model, dtype=torch.float64, device=device)
    parents_G = world.parents_G.to(device)
    for first in range(0, n_tokens, CHUNK):
        x_ND, amounts_NG, _ = world.sample(min(CHUNK, n_tokens - first), generator=generator)
        codes = dictionary.encode(x_ND)
        fires_NF, true_NG = codes.dense() != 0, amounts_NG > 0
        counts.fires_F += fires_NF.sum(0)
        counts.true_F += true_NG[:, best_F].sum(0)
        counts.both_F += (fires_NF & true_NG[:, best_F]).sum(0)
        silent_NQ = ~fires_NF[:, pairs.parent_latent_Q]
        child_NQ = true_NG[:, pairs.child_Q] & fires_NF[:, pairs.child_latent_Q]
        alone_NQ = (true_NG & ~_has_child(true_NG, parents_G))[:, pairs.parent_Q]
        counts.child_Q += child_NQ.sum(0)
        counts.absorbed_Q += (child_NQ & silent_NQ).sum(0)
        counts.alone_Q += alone_NQ.sum(0)
        counts.missed_Q += (alone_NQ & silent_NQ).sum(0)
        error += float((x_ND - dictionary.decode(codes)).double().square().sum())
        shifted_ND = x_ND.double() - world.offset_D
        square += float(shifted_ND.square().sum())
        sum_D += shifted_ND.sum(0)
    counts.variance_explained = 1 - error / (square - float(sum_D.square().sum()) / n_tokens)
    return counts


def _has_child(true_NG: Tensor, parents_G: Tensor) -> Tensor:
    """Which firing features have a child that fires."""
    children = (parents_G >= 0).nonzero()[:, 0]
    has_NG = torch.zeros(true_NG.shape, dtype=torch.int32, device=true_NG.device)
    has_NG.index_add_(1, parents_G[children], true_NG[:, children].int())
    return has_NG > 0


def _splitting(best_F: Tensor, cosine_F: Tensor) -> float:
    owners, n_latents = best_F[cosine_F >= MATCHED].unique(return_counts=True)
    return float((n_latents > 1).double().mean()) if len(owners) else 0.0


def _hedging(W_dec_FD: Tensor, world: World, best_F: Tensor) -> float:
    """`1 - w_match² / Σ w²` with w from least squares of the row on its match and the match's relatives."""
    relatives = _relatives(world.parents_G)
    shares: list[float] = []
    for latent, match in enumerate(best_F.tolist()):
        if relatives[match]:
            basis = world.directions_GD[[match, *relatives[match]]].double()
            weights = torch.linalg.lstsq(basis.T, W_dec_FD[latent].double()[:, None]).solution[:, 0]
            total = float(weights.square().sum())
            shares.append(1 - float(weights[0].square()) / total if total > 0 else 0.0)
    return sum(shares) / len(shares) if shares else float("nan")


def _relatives(parents_G: Tensor) -> list[list[int]]:
    """Parent and children of each feature."""
    found: list[list[int]] = [[] for _ in range(len(parents_G))]
    for child, parent in enumerate(parents_G.tolist()):
        if parent >= 0:
            found[child].append(parent)
            found[parent].append(child)
    return found


def _unit(rows_FD: Tensor) -> Tensor:
    return rows_FD / rows_FD.norm(dim=1, keepdim=True).clamp_min(1e-30)


def _mean(figures_F: Tensor) -> float:
    return float(figures_F.double().mean())
