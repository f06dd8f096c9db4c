"""After training, without the truth: which columns are real?

Null hypothesis: shifts have no preferred directions. Once their mean is taken off and their covariance is made round,
every direction is like every other, whatever the tails and whatever the mean. Any method then still returns C columns.

Two questions are asked of each column learnt from one half of the pairs, and both must be answered yes:
1. *Sparse on pairs that it never saw?* T = E|h - h̄| / sd(h) on the other half, against the T of random directions on
   the same pairs: p = (1 + #{random ≤ T}) / (1 + #random). Random ones are drawn where the column was learnt, in its
   span and in the metric of its own half (`roundness.py`), so under the null it is one more of them and its rank is
   uniform. (Drawn in the metric of the unseen half they would know its largest pairs, which the column does not.)
   Heavy tails common to all directions, as of pairs of different size, move T and its null alike. Permuting pairs or
   flipping signs would change neither sparsity nor covariance, so neither is a null here.
2. *Found again?* The largest |cosine| with a column learnt from the other half, against random directions in as many
   dimensions (p from the beta law of a cosine, times the number of columns). Halves share no pair.

p of a column is the larger of the two, in both directions of the halves; Benjamini and Hochberg's procedure then keeps
the share of false ones among those called real below the level. A column learnt from all pairs is as real as the
column of the first half that it is matched with, and no more than their cosine says. A real column need not be a
concept of the world: a mixture that is sparser than chance, and stable, is called real too.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.shifts.columns import matched_rows
from bathyscope.errors import ConfigError
from bathyscope.evaluation.chance import false_discoveries, match_probability
from bathyscope.evaluation.identifiability.roundness import whitener

CHUNK_DRAWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnEvidence:
    """What speaks for one column of the dictionary."""

    column: int
    """Its number."""
    sparsity: float
    """T of its code on all pairs; .80 for a normally distributed one, less for a sparser one; NaN if constant."""
    p_sparse: float
    """Probability of so small a T on unseen pairs for a random direction (the worse of both halves)."""
    found_again: float
    """|cosine| between its counterparts in the two halves, in the round metric."""
    p_found_again: float
    """Probability of so large a cosine with any column for a random direction."""
    p: float
    """The larger of both, and of the chance that its counterpart is none."""
    is_real: bool
    """Whether it survives the control of false discoveries."""


def significance(
    whole: Dictionary,
    half_a: Dictionary,
    half_b: Dictionary,
    shifts_a_PD: Float[Tensor, "P D"],
    shifts_b_QD: Float[Tensor, "Q D"],
    *,
    level: float = 0.05,
    n_draws: int = 2000,
    seed: int = 0,
) -> list[ColumnEvidence]:
    """Evidence for each column of `whole` that is not empty; `half_a` was learnt from `shifts_a_PD` and so on."""
    if n_draws < 1 or not 0 < level < 1:
        raise ConfigError(f"n_draws is {n_draws} and level {level}: expected at least one draw and a level below 1")
    generator = torch.Generator().manual_seed(seed)
    a_CD, b_CD, all_CD = (readers(each) for each in (half_a, half_b, whole))
    p_a_C = sparse_probability(a_CD, shifts_a_PD, shifts_b_QD, n_draws=n_draws, generator=generator)
    p_b_C = sparse_probability(b_CD, shifts_b_QD, shifts_a_PD, n_draws=n_draws, generator=generator)
    both_PD = torch.cat([shifts_a_PD, shifts_b_QD])
    cosine_AB = _round_cosines(a_CD, b_CD, both_PD)
    best_A = cosine_AB.max(1)
    n_dimensions = min(len(a_CD), len(b_CD))
    p_again_A = _chance(best_A.values, n_columns=len(b_CD), n_dimensions=n_dimensions)
    p_sparse_A = torch.maximum(p_a_C, p_b_C[best_A.indices])
    counterpart_C, nearness_C = _counterparts(_round_cosines(all_CD, a_CD, both_PD))
    p_counterpart_C = _chance(nearness_C, n_columns=len(a_CD), n_dimensions=n_dimensions)
    p_C = torch.maximum(torch.maximum(p_sparse_A, p_again_A)[counterpart_C], p_counterpart_C)
    is_real_C = ~false_discoveries(p_C, rate=level)
    sparsity_C = spread_ratio(both_PD.double() @ all_CD.T)
    numbers = _columns(whole)
    return [
        ColumnEvidence(
            column=numbers[c],
            sparsity=float(sparsity_C[c]),
            p_sparse=float(p_sparse_A[counterpart_C[c]]),
            found_again=float(best_A.values[counterpart_C[c]]),
            p_found_again=float(p_again_A[counterpart_C[c]]),
            p=float(p_C[c]),
            is_real=bool(is_real_C[c]),
        )
        for c in range(len(all_CD))
    ]


def spread_ratio(codes_PC: Float[Tensor, "P C"]) -> Float[Tensor, " C"]:
    """T = E|h - h̄| / sd(h), in 0 … 1: √(2/π) = .80 for a normal code, 1 for two equal values; NaN if constant."""
    centred_PC = codes_PC.double() - codes_PC.double().mean(0)
    sd_C = centred_PC.square().mean(0).sqrt()
    least_C = 1e-9 * codes_PC.double().abs().amax(0)
    return torch.where(sd_C > least_C, centred_PC.abs().mean(0) / sd_C.clamp_min(1e-300), torch.nan)


def sparse_probability(
    readers_CD: Float[Tensor, "C D"],
    seen_PD: Float[Tensor, "P D"],
    unseen_QD: Float[Tensor, "Q D"],
    *,
    n_draws: int,
    generator: torch.Generator,
) -> Float[Tensor, " C"]:
    """p of each reader's T on unseen pairs among those of random readers of its span; 1 for a constant code.

    Random readers are isotropic in the metric that makes the pairs round from which the readers were learnt.
    """
    found_C = spread_ratio(unseen_QD.double() @ readers_CD.T)
    span_MD = torch.linalg.qr(readers_CD.T).Q.T
    round_DM = span_MD.T @ whitener(seen_PD.double() @ span_MD.T)
    round_QM = unseen_QD.double() @ round_DM
    random = [
        spread_ratio(round_QM @ torch.randn(round_QM.shape[1], n, generator=generator, dtype=torch.float64))
        for n in _chunks(n_draws)
    ]
    random_R = torch.cat(random)
    n_below_C = (random_R <= found_C[:, None]).sum(1)
    return torch.where(found_C.isnan(), 1.0, (1 + n_below_C) / (1 + n_draws)).double()


def readers(dictionary: Dictionary) -> Float[Tensor, "C D"]:
    """What reads each code from a shift, float64; columns that are empty are left out."""
    return dictionary.W_enc.T.detach().cpu().double()[_columns(dictionary)]


def _columns(dictionary: Dictionary) -> list[int]:
    return (dictionary.W_enc != 0).any(0).nonzero()[:, 0].tolist()


def _round_cosines(a_CD: Tensor, b_GD: Tensor, shifts_PD: Tensor) -> Tensor:
    """|cosine| of readers in the metric that makes shifts round."""
    value_M, vector_MD = torch.linalg.svd(torch.cat([a_CD, b_GD]), full_matrices=False)[1:]
    span_MD = vector_MD[value_M > 1e-6 * value_M.max()]
    root_KM = torch.linalg.pinv(whitener(shifts_PD.double() @ span_MD.T))
    a_CK, b_GK = (torch.nn.functional.normalize(each @ span_MD.T @ root_KM.T, dim=1) for each in (a_CD, b_GD))
    return (a_CK @ b_GK.T).abs().clamp(max=1)


def _chance(cosine_C: Tensor, *, n_columns: int, n_dimensions: int) -> Tensor:
    """p of a cosine with the best of `n_columns`; 1 where there is one dimension only, in which all agree."""
    if n_dimensions < 2:
        return torch.ones_like(cosine_C)
    return match_probability(cosine_C, n_true=n_columns, d_model=n_dimensions)


def _counterparts(cosine_CA: Tensor) -> tuple[Tensor, Tensor]:
    """For each column its partner among those of a half (the nearest where there are too few), and how near it is."""
    from scipy.optimize import linear_sum_assignment

    nearest_C = cosine_CA.argmax(1)
    rows, columns = linear_sum_assignment(cosine_CA.numpy(), maximize=True)
    nearest_C[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return nearest_C, cosine_CA.gather(1, nearest_C[:, None])[:, 0]


def _chunks(n: int) -> list[int]:
    return [min(CHUNK_DRAWS, n - start) for start in range(0, n, CHUNK_DRAWS)]


def rows_agreement(a: Dictionary, b: Dictionary) -> Float[np.ndarray, " K"]:
    """|cosine| of decoder rows in their best one-to-one assignment, empty rows left out."""
    rows = [each.W_dec.detach().cpu().double()[_columns(each)] for each in (a, b)]
    return matched_rows(rows[0], rows[1]).numpy()
