"""What is lost when only a share of the third cumulants' terms is kept, chosen by claims, by size or by chance."""

from dataclasses import dataclass
from typing import get_args

from bathyscope.risk.layerwise.claims import By, Keep, propagate_kept
from bathyscope.risk.layerwise.mean_study import Figures
from bathyscope.risk.layerwise.network import Dense, Network, random_network
from bathyscope.risk.layerwise.propagate import propagate_singly

CLAIMS = "terms kept"
LOSS = "lost of κ_iii"
"""Σ (κ kept - κ)²/Σ κ² over the outputs asked about, κ that of all terms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimCase:
    """The network of the study, and what is kept."""

    n_hidden: int = 3
    """Hidden ReLU layers, before a linear one."""
    asked: tuple[int, ...] = (4, 256)
    """How many outputs the network has; with few, claims know a direction."""
    shares: tuple[float, ...] = (0.1, 0.25, 0.5)
    """Of the terms that each layer adds."""


def study_claims(case: ClaimCase, *, width: int, seed: int) -> dict[str, Figures]:
    """Outputs and share → figures of every way of choosing, in one random network."""
    network = random_network(width=width, n_hidden=case.n_hidden, seed=seed, is_linear_last=True)
    found: dict[str, Figures] = {}
    for n_asked in case.asked:
        last = network.layers[-1]
        asked = Network((*network.layers[:-1], Dense(last.W_DI[:n_asked], last.b_D[:n_asked])))
        whole_D = propagate_singly(asked, order=3).third_D
        for share in case.shares:
            figures: Figures = {}
            for by in get_args(By):
                kept_D = propagate_kept(asked, Keep(share=share, by=by, seed=seed)).third_D
                figures[by] = {LOSS: float((kept_D - whole_D).square().sum() / whole_D.square().sum())}
            found[f"{CLAIMS}: {asked.n_outputs} outputs, {share:.0%} of the terms"] = figures
    return found
