"""How far QLD is off where what it presumes holds exactly, and what each of two plausible mistakes costs.

    .venv/bin/python benchmarks/quadratic.py

Activations are normal with uneven variances, logits a random linear map of them; the truth is counted in far more
draws. Prints the root mean square of log10(estimate / truth) over tokens that are rare and yet counted well.
"""

import argparse
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bathyscope.risk.estimators.quadratic import QuadraticLogits, Span, Whitened, cut, seen_through, span_of, whitened
from bathyscope.risk.head import Head

if TYPE_CHECKING:
    import torch
    from torch import Tensor

D, V = 16, 64
ROWS = 1 << 20


@dataclass(frozen=True, kw_only=True)
class World:
    """Normal activations and a head."""

    root_DD: "Tensor"
    """A square root of the covariance."""
    head: Head
    """From activations to logits."""
    generator: "torch.Generator"
    """What rows are drawn with."""

    def rows(self, n: int) -> "Tensor":
        """Activations [n, D]."""
        import torch

        return torch.randn(n, D, generator=self.generator) @ self.root_DD.T

    def truth(self, n: int) -> np.ndarray:
        """For each token the share of n draws in which it is the likeliest."""
        counts = [
            self.head.linear(self.rows(ROWS)).argmax(1).bincount(minlength=V).double() / n for _ in range(n // ROWS)
        ]
        return sum(counts[1:], counts[0]).numpy()


def world(seed: int) -> World:
    """One with this seed."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    turn_DD = torch.linalg.qr(torch.randn(D, D, generator=generator))[0]
    weight_VD, bias_V = torch.randn(V, D, generator=generator), torch.randn(V, generator=generator)
    head = Head(weight_VD=weight_VD, bias_V=bias_V)
    return World(root_DD=turn_DD * torch.logspace(-0.5, 0.5, D), head=head, generator=generator)


def share(alpha_N: np.ndarray, span: Span) -> float:
    """Share of all pairs that show the event."""
    ordered_N = np.sort(alpha_N)
    below, up_to = np.searchsorted(ordered_N, span.low_N), np.searchsorted(ordered_N, span.high_N, side="right")
    return float(np.maximum(up_to - below, 0).sum()) / len(alpha_N) ** 2


def mistaken(x_ND: "Tensor", head: Head, token: int, *, is_white: bool, uses_rest: bool) -> float:
    """The estimate without whitening, or with the whole activation where the rest of it belongs."""
    white = whitened(x_ND)
    if not is_white:
        mean_D = x_ND.double().mean(0).numpy()
        white = Whitened(x_ND.double().numpy() - mean_D, np.eye(D), mean_D)
    one = cut(white, seen_through(white, head), token)
    shift_N = one.alpha_N if uses_rest else np.zeros(len(x_ND))
    return share(one.alpha_N, span_of(head.linear(x_ND), shift_N, one.slope_V, token))


def line(name: str, p_T: np.ndarray, truth_T: np.ndarray) -> str:
    """Error over the tokens with an estimate, and how many have none."""
    ratio_T = p_T / truth_T
    decades_T = np.log10(ratio_T[ratio_T > 0])
    return (
        f"{name:32s} rms {math.sqrt((decades_T**2).mean()):.3f} decades, median ratio {np.median(ratio_T):.3f}, "
        f"largest {ratio_T.max():.3g}, zeros {int((ratio_T == 0).sum())}/{len(ratio_T)}"
    )


def main() -> None:
    """Print one line for each way, and how often the interval holds the truth."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0, help="of the world and the rows")
    parser.add_argument("--rows", type=int, default=1 << 14, help="activations that an estimate sees")
    parser.add_argument("--truth", type=int, default=1 << 25, help="draws that the truth is counted in")
    parser.add_argument("--low", type=float, default=3e-5, help="least probability of the tokens")
    parser.add_argument("--high", type=float, default=1e-3, help="largest probability of the tokens")
    given = parser.parse_args()
    made = world(given.seed)
    head, truth_V = made.head, made.truth(given.truth)
    tokens = np.flatnonzero((truth_V > given.low) & (truth_V < given.high)).tolist()
    x_ND, truth_T = made.rows(given.rows), truth_V[tokens]
    print(f"{len(tokens)} tokens from {truth_T.min():.2g} to {truth_T.max():.2g}")
    for estimator in (QuadraticLogits(), QuadraticLogits(along="normal")):
        found = estimator.of_activations(x_ND, head, tokens, level=0.9, seed=given.seed)
        p_T = np.exp([one.log_p for one in found])
        inside = [math.exp(one.log_low) <= p <= math.exp(one.log_high) for one, p in zip(found, truth_T, strict=True)]
        print(line(estimator.name, p_T, truth_T), f", in the 90 % interval {sum(inside)}/{len(tokens)}", sep="")
    for is_white, uses_rest in ((False, True), (True, False), (False, False)):
        name = " and ".join(["not whitened"] * (not is_white) + ["rest not used"] * (not uses_rest))
        p_T = np.array([mistaken(x_ND, head, t, is_white=is_white, uses_rest=uses_rest) for t in tokens])
        print(line(name, p_T, truth_T))


if __name__ == "__main__":
    main()
