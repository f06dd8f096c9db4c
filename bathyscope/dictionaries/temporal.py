"""Temporal: the first features are to say the same of a token and of the one before it (T-SAE, arXiv 2511.05541).

L = Matryoshka's loss over both tokens + γ · ½ [CE(S, diag) + CE(Sᵀ, diag)],  S = Z_t Z_{t-1}ᵀ / τ
Z the codes of the first prefix (a share of the features, "high-level"), as unit rows; one row per pair of neighbours

A batch holds pairs [N, 2D]: the previous token's activation, then the token's. A pair is to know its own previous token
among those of the whole batch, which only what stays the same between neighbours can tell. The dictionary that comes
out is an ordinary one over single tokens. Unit rows, because raw inner products grow with the width and the scale of
activations, and with them the weight that the contrast has.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries import start
from bathyscope.dictionaries.batch_selection import check_selection
from bathyscope.dictionaries.batch_topk import BatchTopKTrainee
from bathyscope.dictionaries.blocks import equal_widths
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dead import Silence
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.kernels.moments import moments
from bathyscope.dictionaries.kernels.select import Pairs
from bathyscope.dictionaries.matryoshka import prefixes
from bathyscope.dictionaries.ranges import require_not_negative, require_positive
from bathyscope.dictionaries.running_threshold import least_kept
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.dictionaries.trainee import Example, Loss, Trainee
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Temporal:
    """Matryoshka BatchTopK whose first features are alike in neighbours. Batches hold pairs [previous | token]."""

    n_features: int = 4608
    """F, number of features. The high-level ones have the lowest numbers."""
    k: int = 32
    """Mean number of active features per token."""
    high_level: float = 0.2
    """Share of the features that are to stay the same between neighbours; also the first prefix."""
    contrast: float = 0.3
    """γ, weight of the contrast between neighbours and other tokens; 0 switches it off."""
    temperature: float = 0.3
    """τ, what inner products of high-level codes are divided by (1 in the paper's code)."""
    normalise: bool = True
    """Whether high-level codes are compared as unit vectors (not in the paper's code)."""
    k_start: int | None = None
    """Mean number of active features at the start of the run; None is 4·k, at most F/6. Needs a k_anneal."""
    k_anneal: float = 0.0
    """Share of the run over which the number of active features falls to k, linearly; 0 is k throughout."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Pairs of silence after which a feature counts as dead."""
    threshold_rate: float = 0.05
    """Share of the newest batch in the running threshold."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""

    def __post_init__(self) -> None:
        check_selection(self)
        if not 0 < self.high_level < 1 or not 0 < self.n_high_level < self.n_features:
            raise ConfigError(f"high_level is {self.high_level}: expected a share of the features, above 0, below 1")
        require_not_negative(self, "contrast")
        require_positive(self, "temperature")

    @property
    def n_high_level(self) -> int:
        """Number of high-level features, the first ones."""
        return round(self.high_level * self.n_features)

    @property
    def reads_previous(self) -> bool:
        """The two places of a batch are the previous token and the token."""
        return True

    def split(self, width: int) -> tuple[int, ...]:
        """Two equal halves."""
        return equal_widths(width, 2, what="temporal")

    def optimisation(self, d_model: int) -> Optimisation:
        """That of TopK, for the width of one token."""
        return short_run(n_features=self.n_features, d_model=self.split(d_model)[0])

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D` over both tokens."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> "TemporalTrainee":
        """A trainee over tokens of half the width `d_model` of a batch."""
        nested = prefixes((self.high_level, 1.0), None, 0.0, n_features=self.n_features)
        inner = BatchTopKTrainee(self, self.split(d_model)[0], generator, prefixes=nested)
        return TemporalTrainee(self, inner)


class TemporalTrainee(Trainee):
    """A Matryoshka trainee that learns from both tokens of each pair, and from their likeness."""

    def __init__(self, kind: Temporal, inner: BatchTopKTrainee) -> None:
        super().__init__()
        self.kind, self.inner = kind, inner

    @property
    def silence(self) -> Silence:  # pyright: ignore[reportIncompatibleVariableOverride]
        """That of the Matryoshka trainee."""
        return self.inner.silence

    def start(self, x_ND: Float[Tensor, "N D"]) -> None:
        """Bias and threshold from the tokens."""
        self.inner.start(self.example(x_ND).x_ND)

    def loss(self, x_ND: Float[Tensor, "N D"], *, progress: float = 1.0) -> Loss:
        """All summands over both tokens of each pair; figures are of the second tokens alone, so that each counts once.

        A batch's first half of rows are previous tokens, its second half the tokens.
        """
        n, both_MD = len(x_ND), torch.cat(x_ND.split(self.kind.split(x_ND.shape[1]), dim=1))
        pairs = self.inner.select(both_MD, progress=progress)
        error = self.inner.error(both_MD, pairs)
        fires_F = Codes(pairs.values_NK[n:].detach(), pairs.indices_NK[n:], self.kind.n_features).fires()
        parts = self.inner.parts(both_MD, moments(both_MD), error, fires_F)
        if self.kind.contrast > 0:
            z_MH = leading_codes(pairs, self.kind.n_high_level)
            parts["contrast"] = self.kind.contrast * contrast(
                z_MH[:n], z_MH[n:], temperature=self.kind.temperature, normalise=self.kind.normalise
            )
        return Loss.sum_of(
            parts,
            squared_error=error.residual_ND[n:].square().sum(),
            target=moments(both_MD[n:]),
            fires_F=fires_F,
            seen={"least kept": least_kept(pairs.values_NK)},
        )

    def example(self, batch_NW: Float[Tensor, "N W"]) -> Example:
        """The second token of each pair."""
        token_ND = batch_NW[:, self.kind.split(batch_NW.shape[1])[0] :]
        return Example(token_ND, token_ND)

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of the second token of each pair."""
        return self.inner.encode(self.example(x_ND).x_ND)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstruction of scaled activations of single tokens."""
        return self.inner.decode(codes)

    def before_step(self) -> None:
        """As Matryoshka."""
        self.inner.before_step()

    def after_step(self, loss: Loss) -> None:
        """As Matryoshka."""
        self.inner.after_step(loss)

    def fold(self, scale: float) -> Dictionary:
        """The neutral dictionary over single tokens."""
        return self.inner.fold(scale)

    def adopt(self, dictionary: Dictionary, scale: float) -> None:
        """Go on from a dictionary over single tokens."""
        self.inner.adopt(dictionary, scale)


def leading_codes(pairs: Pairs, n: int) -> Float[Tensor, "M H"]:
    """Codes of the first `n` features, dense."""
    leads_NK = pairs.indices_NK < n
    values_NK = torch.where(leads_NK, pairs.values_NK, 0)
    zeros_MH = values_NK.new_zeros(len(values_NK), n)
    return zeros_MH.scatter_add(1, torch.where(leads_NK, pairs.indices_NK, 0), values_NK)


def contrast(
    before_NH: Float[Tensor, "N H"], after_NH: Float[Tensor, "N H"], *, temperature: float, normalise: bool
) -> Float[Tensor, ""]:
    """`½ [CE(S, diag) + CE(Sᵀ, diag)]` in nats, `S = after @ beforeᵀ / τ`: how well neighbours know each other.

    Between 0 and, where nothing tells them apart, log N. A row without codes is like no other.
    """
    if normalise:
        before_NH, after_NH = (torch.nn.functional.normalize(z_NH, dim=1) for z_NH in (before_NH, after_NH))
    likeness_NN = after_NH @ before_NH.T / temperature
    own_N = torch.arange(len(likeness_NN), device=likeness_NN.device)
    entropy = torch.nn.functional.cross_entropy
    return (entropy(likeness_NN, own_N) + entropy(likeness_NN.T, own_N)) / 2
