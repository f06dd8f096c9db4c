"""Matryoshka: the first features alone must reconstruct too, so that they stay general (arXiv 2503.17547).

c = BatchTopK's codes, selected once over all F features;  x̂_g = c[:, :m_g] @ W_dec[:m_g] + b_pre,  m_1 < … < m_G = F
L = Σ_g w_g ‖x - x̂_g‖² / Var(x) + α · ‖e - ê‖² / Var(e),  Σ_g w_g = 1,  e = x - x̂_G without gradient

A general feature in a small prefix cannot leave its rare instances to specialists outside it: absorption falls. The
price is some error of the whole, and hedging (one feature for several correlated concepts) inside small prefixes.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries import start
from bathyscope.dictionaries.batch_selection import Prefixes, check_selection
from bathyscope.dictionaries.batch_topk import BatchTopKTrainee
from bathyscope.dictionaries.schedule import Optimisation, short_run
from bathyscope.errors import ConfigError

GROUPS = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""Prefixes that double."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Matryoshka:
    """Nested prefixes over one BatchTopK selection. Activations are scaled to `E‖x - x̄‖² = D`."""

    n_features: int = 4608
    """F, number of features. Those of the smallest prefix have the lowest numbers."""
    k: int = 32
    """Mean number of active features per token, over all prefixes together."""
    groups: tuple[float, ...] = GROUPS
    """Size of each prefix as a share of the features, rising; the last is 1."""
    group_weights: tuple[float, ...] | None = None
    """Weight of each prefix's error, divided by their sum; None weighs all alike."""
    bias_weight: float = 0.0
    """Weight of the error of the bias alone (1 in the paper's code); it only draws the bias to the mean."""
    k_start: int | None = None
    """Mean number of active features at the start of the run; None is 4·k, at most F/6. Needs a k_anneal."""
    k_anneal: float = 0.5
    """Share of the run over which the number of active features falls to k, linearly; 0 is k throughout."""
    k_aux: int | None = None
    """Dead features that guess the residual; None takes the power of two nearest to half the width."""
    aux_coefficient: float = 1 / 32
    """α, weight of the auxiliary loss; 0 switches it off."""
    dead_after_tokens: int = 100_000
    """Tokens of silence after which a feature counts as dead (10 million on far longer runs)."""
    threshold_rate: float = 0.05
    """Share of the newest batch in the running threshold."""
    bias_start: start.BiasStart = "geometric-median"
    """Where `b_pre` begins."""
    aligned: bool = False
    """Whether each encoder row keeps the inner product 1 with its decoder row, see `aligned.py`."""

    def __post_init__(self) -> None:
        check_selection(self)
        prefixes(self.groups, self.group_weights, self.bias_weight, n_features=self.n_features)

    def optimisation(self, d_model: int) -> Optimisation:
        """That of TopK: a high rate that falls over most of the run."""
        return short_run(n_features=self.n_features, d_model=d_model)

    def scale(self, x_ND: Float[Tensor, "N D"]) -> float:
        """`E‖s·(x - x̄)‖² = D`: the part that is learnt has unit variance, however large the mean."""
        return start.unit_variance(x_ND)

    def build(self, d_model: int, *, generator: torch.Generator) -> BatchTopKTrainee:
        """BatchTopK's trainee with several prefixes."""
        nested = prefixes(self.groups, self.group_weights, self.bias_weight, n_features=self.n_features)
        return BatchTopKTrainee(self, d_model, generator, prefixes=nested)


def prefixes(
    groups: tuple[float, ...], weights: tuple[float, ...] | None, bias_weight: float, *, n_features: int
) -> Prefixes:
    """Sizes in features, with weights that sum to 1; a size of 0 stands for the bias alone.

    Raises ConfigError for shares that do not rise to 1, prefixes of equal size, or weights that do not fit.
    """
    sizes = tuple(round(share * n_features) for share in groups)
    rises = all(low < high for low, high in zip((0, *sizes), sizes, strict=False))
    if not groups or groups[-1] != 1 or not rises:
        raise ConfigError(
            f"groups {groups} of {n_features} features have {sizes} features: expected shares that rise to 1, "
            "each prefix larger than the one before"
        )
    given = (1.0,) * len(groups) if weights is None else weights
    if len(given) != len(groups) or not all(0 <= weight < math.inf for weight in given) or not given[-1] > 0:
        raise ConfigError(
            f"group_weights are {weights}: expected {len(groups)} numbers, none negative, the last one positive"
        )
    if not 0 <= bias_weight < math.inf:
        raise ConfigError(f"bias_weight is {bias_weight}: expected 0 or a positive number")
    if bias_weight > 0:
        sizes, given = (0, *sizes), (bias_weight, *given)
    total = math.fsum(given)
    return Prefixes(sizes, tuple(weight / total for weight in given))
