"""Before training: do the supports of the pairs let every concept be told from every other?

support[p, c] is 1 where concept c changes in pair p, 0 where it stays, anything else where that is not known.
For each concept k the union of the supports that leave k out must be all other concepts (sufficient support
variability: Lachapelle et al. 2022, arXiv 2211.14666; Joshi et al. 2025, arXiv 2502.12179). Counted: shown[k, j], the
pairs in which j changes and k stays. A zero there means that no data of this kind, however much, tells j from j + k.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError

Verdict = Literal["identifiable", "weakly identifiable", "not identifiable", "unknown"]
LEAST_PAIRS = 10
"""Fewer pairs than this that show a concept without another count as weak evidence."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SupportReport:
    """What the supports allow."""

    verdict: Verdict
    """`not identifiable` where two concepts are never told apart, `unknown` where only unknown entries could do it."""
    names: tuple[str, ...]
    """Concepts, in the order of the columns of `shown_CC`."""
    n_pairs: int
    """P."""
    changes_C: Int[Tensor, " C"]
    """Pairs in which each concept is known to change."""
    stays_C: Int[Tensor, " C"]
    """Pairs in which each is known to stay."""
    shown_CC: Int[Tensor, "C C"]
    """Pairs in which the column's concept changes and the row's stays."""
    absent: tuple[str, ...]
    """Concepts that never change: nothing can be said about them, and nothing is lost by them."""
    always: tuple[str, ...]
    """Concepts that change in every pair."""
    blocks: tuple[tuple[str, ...], ...]
    """Concepts that are not told apart within a block, several names each; they can be found as a block only."""
    reasons: tuple[str, ...]
    """One sentence each, worst first."""


def support_report(
    support_PC: Float[Tensor, "P C"] | Int[Tensor, "P C"] | Bool[Tensor, "P C"],
    *,
    names: Sequence[str] = (),
    least_pairs: int = LEAST_PAIRS,
) -> SupportReport:
    """The report of a pair set. Raises ConfigError for a support that is no matrix, or names that do not fit."""
    if support_PC.ndim != 2 or 0 in support_PC.shape:
        raise ConfigError(f"the support has shape {tuple(support_PC.shape)}, expected [P, C] with pairs and concepts")
    n_pairs, n = support_PC.shape
    if names and (len(names) != n or len(set(names)) < n):
        raise ConfigError(f"{len(names)} names for {n} concepts: expected one for each, all different")
    names = tuple(names) or tuple(f"concept {c}" for c in range(n))
    changes_PC, stays_PC = (support_PC == 1).double(), (support_PC == 0).double()
    shown_CC = (stays_PC.T @ changes_PC).long()
    possible_CC = ((1 - changes_PC).T @ (1 - stays_PC)).long()
    varies_C = (1 - stays_PC).sum(0) > 0
    counts_CC = varies_C[:, None] & varies_C & ~torch.eye(n, dtype=torch.bool)
    lost_CC = counts_CC & (shown_CC == 0) & (possible_CC == 0)
    open_CC = counts_CC & (shown_CC == 0) & (possible_CC > 0)
    weak_CC = counts_CC & (shown_CC > 0) & (shown_CC < least_pairs)
    always = tuple(names[c] for c in range(n) if int(changes_PC[:, c].sum()) == n_pairs)
    return SupportReport(
        verdict=_verdict(lost=bool(lost_CC.any()), open_=bool(open_CC.any()), weak=bool(weak_CC.any())),
        names=names,
        n_pairs=n_pairs,
        changes_C=changes_PC.sum(0).long(),
        stays_C=stays_PC.sum(0).long(),
        shown_CC=shown_CC,
        absent=tuple(name for name, varies in zip(names, varies_C.tolist(), strict=True) if not varies),
        always=always,
        blocks=tuple(tuple(names[c] for c in block) for block in joined(lost_CC) if len(block) > 1),
        reasons=(
            *_never(lost_CC, names),
            *_listed(open_CC, names, "may never change without"),
            *_listed(weak_CC, names, f"changes in fewer than {least_pairs} pairs without"),
        ),
    )


def _verdict(*, lost: bool, open_: bool, weak: bool) -> Verdict:
    """The worst that holds."""
    if lost:
        return "not identifiable"
    if open_:
        return "unknown"
    return "weakly identifiable" if weak else "identifiable"


def joined(lost_CC: Bool[Tensor, "C C"]) -> list[list[int]]:
    """Concepts in blocks: two that are not told apart, in either direction, are in the same one."""
    label = list(range(len(lost_CC)))
    for row, column in lost_CC.nonzero().tolist():
        old, new = max(label[row], label[column]), min(label[row], label[column])
        label = [new if value == old else value for value in label]
    return [[c for c, value in enumerate(label) if value == block] for block in sorted(set(label))]


def _never(lost_CC: Tensor, names: Sequence[str]) -> list[str]:
    """Pairs that never separate in either direction first, then one-sided ones."""
    if int(lost_CC.sum()) == len(names) * (len(names) - 1) and len(names) > 2:
        return ["every concept changes in every pair: dense supports identify nothing"]
    both_CC = lost_CC & lost_CC.T
    twins = [f"{names[a]} and {names[b]} never separate" for a, b in both_CC.triu(1).nonzero().tolist()]
    return twins + _listed(lost_CC & ~both_CC, names, "never changes without")


def _listed(found_CC: Tensor, names: Sequence[str], words: str) -> list[str]:
    return [f"{names[j]} {words} {names[k]}" for k, j in found_CC.nonzero().tolist()]
