"""Same dictionary, optimal codes: how much of a dictionary's error is its encoder's, at equal numbers of features.

The decoder stays; its codes come from the encoder, from matching pursuit, from orthogonal matching pursuit, and from
FISTA with the L1 penalty at which as many features are active (as it is, and with its amounts fitted again). The same
is measured on a random decoder: what solvers reach there needs no learnt direction at all.
"""

import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from bathyscope import progress
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Pursuit
from bathyscope.dictionaries.solvers.fista import Fista
from bathyscope.dictionaries.solvers.least_squares import refit
from bathyscope.dictionaries.solvers.orthogonal_pursuit import OrthogonalPursuit
from bathyscope.dictionaries.solvers.recode import centred, recode
from bathyscope.errors import ConfigError
from bathyscope.evaluation.intervals import bootstrap, by_document
from bathyscope.evaluation.nulls import random_dictionary
from bathyscope.evaluation.scores import Score, score

log = logging.getLogger(__name__)

SEARCH_ROWS = 256
"""Tokens on which the penalty is looked for."""
SEARCH_ROUNDS = 12
"""Halvings of its range, after it was enclosed."""
CLOSE = 0.02
"""Relative difference in L0 that ends the search."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimalCodesSettings:
    """Settings of `optimal_codes`."""

    k: int | None = None
    """Active features per token of the solvers; None takes the encoder's mean, rounded."""
    n_steps: int = 300
    """Most steps of FISTA."""
    tolerance: float = 1e-3
    """When a token is done with FISTA; see `Fista`."""
    seed: int = 0
    """Seed of the random decoder and of the bootstrap."""

    def __post_init__(self) -> None:
        if self.k is not None and self.k < 1:
            raise ConfigError(f"k is {self.k}: expected at least 1, or None for the encoder's own")
        if self.n_steps < 1 or not self.tolerance >= 0:
            raise ConfigError(f"n_steps is {self.n_steps} and tolerance {self.tolerance}: expected ≥ 1 and ≥ 0")


def optimal_codes(
    dictionary: Dictionary,
    x_ND: Float[Tensor, "N D"],
    *,
    documents_N: NDArray[np.integer] | None = None,
    settings: OptimalCodesSettings = OptimalCodesSettings(),
) -> list[Score]:
    """Variance explained and L0 of each way to code `x_ND`, on the decoder and on a random one.

    Intervals are over documents; without `documents_N` they are infinite. Codes may be negative only where the
    encoder's are. Subjects are `encoder`, `matching pursuit`, … and `random dictionary, encoder`, ….
    """
    if documents_N is not None and len(documents_N) != len(x_ND):
        raise ConfigError(f"{len(documents_N)} document numbers were given for {len(x_ND)} activations")
    groups_N = np.zeros(len(x_ND), np.int64) if documents_N is None else documents_N
    with torch.no_grad():
        codes = dictionary.encode(x_ND)
        is_signed = bool((codes.values_NK < 0).any())
        k = settings.k or max(1, round(codes.l0()))
        null = random_dictionary(dictionary, x_ND, k=k, seed=settings.seed)
        scores = list[Score]()
        for number, (prefix, subject) in enumerate({"": dictionary, "random dictionary, ": null}.items()):
            for name, make in _ways(subject, x_ND, k, settings, is_signed=is_signed).items():
                codes = make()
                guess_ND = subject.decode(codes) if subject.normalise is None else subject.decode(codes, x_ND)
                scores += _scores(prefix + name, x_ND, guess_ND, codes, groups_N, seed=settings.seed)
                progress.report("optimal codes", len(scores) // 2, 10, "ways", null=number)
    return scores


def l1_for(
    x_ND: Float[Tensor, "N D"], dictionary: Dictionary, l0: float, settings: OptimalCodesSettings, *, is_signed: bool
) -> float:
    """The penalty at which FISTA gives about `l0` active features per token, from a few evenly spread tokens."""
    sample_ND = x_ND[:: -(-len(x_ND) // SEARCH_ROWS)]
    high = float((centred(dictionary, sample_ND) @ dictionary.W_dec.T).abs().max())
    low, l1, found = 0.0, high / 4, 0.0
    for _ in range(SEARCH_ROUNDS):
        solver = Fista(l1=l1, is_signed=is_signed, n_steps=settings.n_steps, tolerance=settings.tolerance)
        found = recode(dictionary, sample_ND, solver).l0()
        if abs(found - l0) <= CLOSE * l0:
            return l1
        low, high = (l1, high) if found > l0 else (low, l1)
        l1 = math.sqrt(low * high) if low > 0 else high / 4
    log.info("FISTA was asked for L0 %.4g; the search for its penalty ended at %.4g", l0, found)
    return l1


def _ways(
    subject: Dictionary, x_ND: Tensor, k: int, settings: OptimalCodesSettings, *, is_signed: bool
) -> dict[str, Callable[[], Codes]]:
    """Each way to code, by name. FISTA is run once."""
    l1_codes = list[Codes]()

    def fista_codes() -> Codes:
        if not l1_codes:
            l1 = l1_for(x_ND, subject, float(k), settings, is_signed=is_signed)
            solver = Fista(l1=l1, is_signed=is_signed, n_steps=settings.n_steps, tolerance=settings.tolerance)
            l1_codes.append(recode(subject, x_ND, solver))
        return l1_codes[0]

    return {
        "encoder": lambda: subject.encode(x_ND),
        "matching pursuit": lambda: recode(subject, x_ND, Pursuit(k=k, is_signed=is_signed)),
        "orthogonal pursuit": lambda: recode(subject, x_ND, OrthogonalPursuit(k=k, is_signed=is_signed)),
        "FISTA": fista_codes,
        "FISTA, refitted": lambda: refit(centred(subject, x_ND), subject.W_dec, fista_codes(), is_signed=is_signed),
    }


def _scores(
    name: str, x_ND: Tensor, guess_ND: Tensor, codes: Codes, documents_N: NDArray[np.integer], *, seed: int
) -> list[Score]:
    """EV = 1 - Σ‖x - x̂‖² / Σ‖x - x̄‖² with x̄ the mean of these rows, and L0."""
    wide_ND = x_ND.double()
    columns = [
        (wide_ND - guess_ND.double()).square().sum(1),
        (wide_ND - wide_ND.mean(0)).square().sum(1),
        (codes.values_NK != 0).sum(1).double(),
        wide_ND.new_ones(len(x_ND)),
    ]
    sums_GM = by_document(documents_N, torch.stack(columns, 1).numpy())
    explained = bootstrap(sums_GM, lambda t: 1 - t[..., 0] / t[..., 1], seed=seed)
    l0 = bootstrap(sums_GM, lambda t: t[..., 2] / t[..., 3], seed=seed)
    return [score(name, "variance explained", explained), score(name, "L0", l0)]
