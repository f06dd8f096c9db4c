"""What may be learnt from: differences of the two sides of pairs, checked before anything is computed.

Knows tensors only. What cannot be used is refused by name; what is merely suspicious is a warning in words.
"""

import logging
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError

log = logging.getLogger(__name__)


class Checked(NamedTuple):
    """Shifts that can be used, and what is odd about them."""

    shifts_PD: Float[Tensor, "P D"]
    """δz as float32, pairs with equal sides left out."""
    warnings: tuple[str, ...]
    """One sentence each."""


def shifts_of(pairs_PTD: Tensor) -> Float[Tensor, "P D"]:
    """δz = second side - first side of pairs [P, 2, D].

    Raises ConfigError for any other shape: a matrix could hold the pairs in consecutive rows, in halves or side by
    side, and every guess but one would give differences of unrelated texts.
    """
    if pairs_PTD.ndim != 3 or pairs_PTD.shape[1] != 2:
        raise ConfigError(
            f"pairs have shape {tuple(pairs_PTD.shape)}, expected [P, 2, D]: stack the two sides, "
            "torch.stack([before, after], dim=1); a matrix does not say which rows belong together"
        )
    return pairs_PTD[:, 1].float() - pairs_PTD[:, 0].float()


def checked_shifts(shifts_PD: Float[Tensor, "P D"], *, n_features: int) -> Checked:
    """Shifts to learn `n_features` columns from.

    Raises ConfigError for numbers that are not finite, for pairs that are all equal, and for fewer pairs than columns.
    Pairs with equal sides are left out with a warning, and so a warning names constant and single-valued shifts.
    """
    if shifts_PD.ndim != 2:
        raise ConfigError(f"shifts have shape {tuple(shifts_PD.shape)}, expected [P, D], one difference for each pair")
    wide_PD = shifts_PD.detach().float()
    is_bad_P = ~wide_PD.isfinite().all(1)
    if bool(is_bad_P.any()):
        raise ConfigError(f"the shift of pair {int(is_bad_P.nonzero()[0])} holds NaN or infinity: read it again")
    is_zero_P = ~(wide_PD != 0).any(1)
    n_zero, n_pairs = int(is_zero_P.sum()), len(wide_PD)
    if n_zero == n_pairs:
        raise ConfigError(f"the two sides of all {n_pairs} pairs are equal: there is no shift to learn from")
    used_PD = wide_PD[~is_zero_P].contiguous()
    if len(used_PD) < n_features:
        raise ConfigError(
            f"{len(used_PD)} pairs with a shift are fewer than the {n_features} columns asked for: "
            "give more pairs or fewer columns"
        )
    warnings = (*_about_equal_pairs(n_zero, n_pairs), *_about_columns(used_PD, n_features))
    for warning in warnings:
        log.warning("%s", warning)
    return Checked(used_PD, warnings)


def of_length_one(shifts_PD: Float[Tensor, "P D"]) -> Float[Tensor, "P D"]:
    """Every shift (none is zero) divided by its length."""
    return shifts_PD / shifts_PD.double().norm(dim=1, keepdim=True).float()


def _about_equal_pairs(n_zero: int, n_pairs: int) -> list[str]:
    return [f"{n_zero} of {n_pairs} pairs have equal sides and are left out"] if n_zero else []


def _about_columns(shifts_PD: Tensor, n_features: int) -> list[str]:
    found: list[str] = []
    d = shifts_PD.shape[1]
    is_flat_D = (shifts_PD == shifts_PD[0]).all(0)
    is_unchanged_D = is_flat_D & (shifts_PD[0] == 0)
    n_unchanged, n_constant = int(is_unchanged_D.sum()), int((is_flat_D & ~is_unchanged_D).sum())
    if n_unchanged:
        found.append(f"{n_unchanged} of {d} dimensions never change")
    if n_constant:
        found.append(f"{n_constant} of {d} dimensions change by the same amount in every pair")
    if n_features > d:
        found.append(
            f"{n_features} columns in {d} dimensions: a linear encoder cannot tell more concepts apart than there are "
            "dimensions; the surplus stays empty"
        )
    if len(shifts_PD) < 10 * n_features:
        found.append(f"{len(shifts_PD)} pairs for {n_features} columns: fewer than ten for each, so expect noise")
    return found
