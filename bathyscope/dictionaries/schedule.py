"""How fast a dictionary learns over its run: shares of the run in, factors out.

Progress is the share of the run's tokens that has been seen, so a schedule means the same for every batch size.
"""

import dataclasses
from dataclasses import dataclass

from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimisation:
    """Adam's settings and the shape of the learning rate. Each kind has its own defaults."""

    lr: float
    """Highest learning rate, for activations of unit variance per dimension."""
    warm_up: float
    """Share of the run over which the learning rate rises from 0, linearly."""
    decay: float
    """Share of the run, at its end, over which the learning rate falls to 0, linearly."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Adam's averaging rates."""
    eps: float = 1e-8
    """Adam's least denominator."""
    clip_norm: float = 1.0
    """Longest gradient (norm over all weights); longer ones are scaled down. 0 never clips."""
    tuned_steps: int | None = None
    """Steps of the longest run that `lr` is meant for; None: of any."""

    def __post_init__(self) -> None:
        if not 0 < self.lr < float("inf"):
            raise ConfigError(f"lr is {self.lr}: expected a positive number")
        if not (self.warm_up >= 0 and self.decay >= 0 and self.warm_up + self.decay <= 1):
            raise ConfigError(
                f"warm-up {self.warm_up} and decay {self.decay} are shares of one run: their sum is at most 1"
            )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigError(f"betas are {self.betas}: expected two numbers from 0 up to, but not including, 1")
        if not 0 <= self.clip_norm < float("inf"):
            raise ConfigError(f"clip_norm is {self.clip_norm}: expected a positive number, or 0 to never clip")
        if self.tuned_steps is not None and self.tuned_steps < 1:
            raise ConfigError(f"tuned_steps is {self.tuned_steps}: expected a positive number, or None for any length")

    def learning_rate(self, progress: float) -> float:
        """The learning rate at `progress` in [0, 1]."""
        return self.lr * ramp(progress, self.warm_up) * ramp(1 - progress, self.decay)

    def over(self, n_steps: int) -> "Optimisation":
        """This for a run of so many steps: with more than it is tuned for the rate falls with their root."""
        if self.tuned_steps is None or n_steps <= self.tuned_steps:
            return self
        return dataclasses.replace(self, lr=self.lr * (self.tuned_steps / n_steps) ** 0.5)


MOST = 4.0
"""Highest rate for a small dictionary, in multiples of the rate for 4,608 features on 576 dimensions."""


def sized_rate(lr: float, *, n_features: int, d_model: int) -> float:
    """`lr` for 4,608 features on 576 dimensions, less for larger dictionaries and more for smaller ones.

    `lr · √(576/D) · (4608/F)^a`, a = ½ above 4,608 features and ¼ below, at most 4·lr. The root of F is that of Gao et
    al. 2024 (arXiv 2406.04093, fig. 3). Entries of a unit row are 1/√D large and Adam moves each by lr, so the same
    share of a row is moved per step when lr falls with √D. The rates of small dictionaries are measured on worlds of
    known features (docs/recovery.md).
    """
    exponent = 0.5 if n_features > 4608 else 0.25
    return lr * min(MOST, (4608 / n_features) ** exponent * (576 / d_model) ** 0.5)


def short_run(*, n_features: int, d_model: int) -> Optimisation:
    """A high rate that falls over most of the run: what runs of less than 10 million tokens gain most from.

    It was tried in runs of 500 to 2,000 steps; in 8,000 it lets features die or explains less than its half
    (docs/speed-training.md#learning-rate).
    """
    lr = sized_rate(2.5e-3, n_features=n_features, d_model=d_model)
    return Optimisation(lr=lr, warm_up=0.02, decay=0.8, tuned_steps=2500)


def ramp(progress: float, share: float) -> float:
    """0 at the start, rising linearly to 1 at `share` of the run, then 1; always 1 when `share` is 0."""
    return 1.0 if share <= 0 else min(1.0, max(0.0, progress / share))


START, MOST_AT_START = 4, 6
"""Where k begins that falls during a run: at 4·k, but at most at a sixth of the features, unless k_start is given."""


def falling_k(k: int, k_start: int | None, k_anneal: float, n_features: int, *, progress: float) -> float:
    """k at `progress` of the run: from `k_start` linearly to k over the share `k_anneal`; k for 0.

    Without a `k_start` it is 4·k, at most a sixth of the features. While many features are active each of them gets
    gradients and finds a place of its own; with few from the start, the first to grow take several true features, or
    several take the same one (measured: docs/recovery.md).
    """
    first = max(k, min(START * k, n_features // MOST_AT_START)) if k_start is None else k_start
    return first + (k - first) * ramp(progress, k_anneal)
