"""How much of a known world a dictionary has found: its features against the true ones.

Each latent (dictionary feature) is compared with its best-matching true feature, the one with the highest |cosine|.
Figures of a dictionary without learning, and the chance of a match as good by accident, belong beside these.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.evaluation.chance import false_discoveries, match_probability
from bathyscope.evaluation.worlds.world import Sample, World, own_seed
from bathyscope.progress import report

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


def recovery(dictionary: Dictionary, world: World, *, n_tokens: int = 20_000, seed: int = 0) -> Recovery:
    """Compare `dictionary` with the true features of `world`, on `n_tokens` fresh activations drawn from `seed`.

    Raises ConfigError for another width. Memory: a chunk of activations times latents and times true features.
    """
    return recoveries({"": dictionary}, world, n_tokens=n_tokens, seed=seed)[""]


def recoveries(
    dictionaries: Mapping[str, Dictionary], world: World, *, n_tokens: int = 20_000, seed: int = 0
) -> dict[str, Recovery]:
    """The same for several dictionaries, on the same activations."""
    for dictionary in dictionaries.values():
        if dictionary.d_model != world.settings.d_model:
            raise ConfigError(
                f"the dictionary reads width {dictionary.d_model}, the world has width {world.settings.d_model}"
            )
    tallies = {name: _Tally(dictionary, world) for name, dictionary in dictionaries.items()}
    generator = torch.Generator(world.device).manual_seed(own_seed("test", seed))
    for first in range(0, n_tokens, CHUNK):
        sample = world.sample(min(CHUNK, n_tokens - first), generator=generator)
        for number, tally in enumerate(tallies.values()):
            tally.add(sample)
            report("recovery", first * len(tallies) + number * len(sample.x_ND), n_tokens * len(tallies), "tokens")
    return {name: tally.figures() for name, tally in tallies.items()}


def mean_matched_cosine(cosines_FG: Float[Tensor, "F G"]) -> float:
    """Mean |cosine| over the best one-to-one assignment of min(F, G) pairs (Hungarian algorithm)."""
    from scipy.optimize import linear_sum_assignment

    sizes = cosines_FG.abs().cpu().numpy()
    rows, columns = linear_sum_assignment(sizes, maximize=True)
    return float(sizes[rows, columns].mean())


class _Tally:
    """Sums over the sample for one dictionary."""

    def __init__(self, dictionary: Dictionary, world: World) -> None:
        self.dictionary, self.world, self.n = dictionary, world, 0
        self.cosines_FG = _unit(dictionary.W_dec) @ world.directions_GD.T
        self.best_F = self.cosines_FG.abs().argmax(1)
        self.pairs = _pairs(world, self.cosines_FG, self.best_F)
        self.fires_F, self.true_F, self.both_F = self._zeros(3, dictionary.n_features)
        self.child_Q, self.absorbed_Q, self.alone_Q, self.missed_Q = self._zeros(4, len(self.pairs.child_Q))
        self.sum_D = self._zeros(1, world.settings.d_model)[0]
        self.error, self.square = 0.0, 0.0

    def add(self, sample: Sample) -> None:
        """Take in a chunk."""
        x_ND, amounts_NG, _ = sample
        codes = self.dictionary.encode(x_ND)
        fires_NF, true_NG = codes.dense() != 0, amounts_NG > 0
        true_NF = true_NG[:, self.best_F]
        self.fires_F += fires_NF.sum(0)
        self.true_F += true_NF.sum(0)
        self.both_F += (fires_NF & true_NF).sum(0)
        self._add_pairs(fires_NF, true_NG)
        self.error += float((x_ND - self.dictionary.decode(codes)).double().square().sum())
        shifted_ND = x_ND.double() - self.world.offset_D
        self.square += float(shifted_ND.square().sum())
        self.sum_D += shifted_ND.sum(0)
        self.n += len(x_ND)

    def figures(self) -> Recovery:
        """What the sums say."""
        both_F, fires_F, true_F = self.both_F, self.fires_F, self.true_F
        cosine_F = self.cosines_FG.abs().gather(1, self.best_F[:, None])[:, 0]
        settings = self.world.settings
        chance_F = match_probability(cosine_F, n_true=settings.n_true, d_model=settings.d_model)
        return Recovery(
            f1=_mean(2 * both_F / (fires_F + true_F).clamp_min(1)),
            precision=_mean(both_F / fires_F.clamp_min(1)),
            recall=_mean(both_F / true_F.clamp_min(1)),
            mcc=mean_matched_cosine(self.cosines_FG),
            uniqueness=len(self.best_F.unique()) / len(self.best_F),
            variance_explained=1 - self.error / (self.square - float(self.sum_D.square().sum()) / self.n),
            beyond_chance=float((~false_discoveries(chance_F)).double().mean()),
            absorption=self._absorption(),
            splitting=_splitting(self.best_F, cosine_F),
            hedging=_hedging(self.dictionary.W_dec, self.world, self.best_F),
            l0=float(fires_F.sum()) / self.n,
            dead=float((fires_F == 0).double().mean()),
        )

    def _add_pairs(self, fires_NF: Tensor, true_NG: Tensor) -> None:
        pairs, parents_G = self.pairs, self.world.parents_G.to(true_NG.device)
        silent_NQ = ~fires_NF[:, pairs.parent_latent_Q]
        child_NQ = true_NG[:, pairs.child_Q] & fires_NF[:, pairs.child_latent_Q]
        alone_NQ = (true_NG & ~_has_child(true_NG, parents_G))[:, pairs.parent_Q]
        self.child_Q += child_NQ.sum(0)
        self.absorbed_Q += (child_NQ & silent_NQ).sum(0)
        self.alone_Q += alone_NQ.sum(0)
        self.missed_Q += (alone_NQ & silent_NQ).sum(0)

    def _absorption(self) -> float:
        """Mean over pairs with enough tokens, see `Recovery.absorption`."""
        enough_Q = (self.child_Q >= LEAST_BOTH) & (self.alone_Q >= LEAST_BOTH)
        if not bool(enough_Q.any()):
            return float("nan")
        excess_Q = self.absorbed_Q / self.child_Q.clamp_min(1) - self.missed_Q / self.alone_Q.clamp_min(1)
        return float(excess_Q[enough_Q].mean())

    def _zeros(self, count: int, size: int) -> list[Tensor]:
        return [torch.zeros(size, dtype=torch.float64, device=self.cosines_FG.device) for _ in range(count)]


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
