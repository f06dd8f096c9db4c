"""`Paths`: chains of written texts that are cut, written anew from there, and drawn towards the event by a tilt.

Rung r holds texts with density ∝ p(y) · exp(λ_r φ(y)), λ_0 = 0, φ = how near a text comes to the event.
Move: cut at c, uniform in 0 … L-1, write the rest anew with the plain model, accept with probability
min(1, exp(λ_r [φ(y') - φ(y)])); what the model says of both ends cancels. Neighbours r, s swap with log acceptance
(λ_r - λ_s)(φ_s - φ_r). MBAR pools all rungs into weights for λ = 0.

The idea is that of transition path sampling; Dorman et al. (arXiv 2602.06791) take it to language models. A text that
ends before c stays as it is: texts of any length are cut alike, and no correction for length is needed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.estimate import Figures, Flag
from bathyscope.risk.estimators.chains import r_hat
from bathyscope.risk.estimators.estimator import Run
from bathyscope.risk.estimators.naive import share_of_hits
from bathyscope.risk.inputs.law import free_choices
from bathyscope.risk.inputs.writing import Answer, Written, joined
from bathyscope.risk.look import Seen
from bathyscope.risk.mbar import mbar
from bathyscope.risk.written_look import WrittenLook

Observable = Callable[[Sequence[Answer]], Float[Tensor, " N"]]
"""Texts → how near each comes to the event, finite numbers."""

N_GROUPS = 16
"""Groups of ladders that the jackknife leaves out, one at a time."""
APART = 1.05
"""R̂ of the hits on the last rung above which its chains disagree."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Paths:
    """Ladders of tilted chains of texts. Needs no proposal, but texts that come nearer to the event step by step."""

    tilts: tuple[float, ...] = (0.0, 1.0, 2.0, 4.0, 8.0)
    """λ of each rung, ascending from 0, in units of 1 / φ; the last should make about half of its texts hits."""
    n_ladders: int = 16
    """Independent ladders, each with one chain on every rung."""
    n_burn_in: int = 64
    """First sweeps, which are not kept; they count as cost. Early tokens are written anew only with all behind them, so
    that chains forget where they began over tens of sweeps, even for texts of 6 tokens."""
    observable: Observable | None = None
    """φ; None: the event's score."""

    def __post_init__(self) -> None:
        rises = all(low < high for low, high in zip(self.tilts, self.tilts[1:], strict=False))
        if len(self.tilts) < 2 or self.tilts[0] != 0 or not rises:
            raise ConfigError(f"tilts are {self.tilts}, expected at least two, ascending from 0")
        if self.n_ladders < 2 or self.n_burn_in < 0:
            raise ConfigError(f"{self.n_ladders} ladders with {self.n_burn_in} sweeps of burn-in; expected 2 or more")

    @property
    def name(self) -> str:
        """`paths`."""
        return "paths"

    def begin_written(self, look: WrittenLook, generator: torch.Generator) -> Run:
        """Start. Raises ConfigError for a budget that does not pay for burn-in and two sweeps."""
        least = len(self.tilts) * self.n_ladders * (self.n_burn_in + 3)
        if look.room() < least:
            raise ConfigError(
                f"{self.name} needs {least} texts for burn-in and two sweeps, the budget pays for {look.room()}; "
                "raise it or lower n_ladders"
            )
        return _Ladders(self, look, generator)


class _Ladders:
    """All chains, rung after rung: row r · C + c is the chain of ladder c on rung r."""

    def __init__(self, settings: Paths, look: WrittenLook, generator: torch.Generator) -> None:
        self._settings, self._look, self._generator = settings, look, generator
        self._tilt_K = torch.tensor(settings.tilts, dtype=torch.float64)
        self._tilt_R = self._tilt_K.repeat_interleave(settings.n_ladders)
        self._n_sweeps = 0
        self._rows: Written | None = None
        self._phi_R = torch.zeros(0, dtype=torch.float64)
        self._value_R = torch.zeros(0, dtype=torch.float64)
        self._kept: list[tuple[Tensor, Tensor]] = []

    def step(self) -> bool:
        """The first texts, or one sweep: fresh texts on rung 0, a move of each other chain, swaps."""
        n_rows, n_ladders = len(self._tilt_R), self._settings.n_ladders
        if self._look.room() < n_rows:
            return False
        if self._rows is None:
            first = self._look.write(n_rows, self._generator)
            phi_R, value_R = self._judged(first)
            start_R = self._starts(phi_R)
            self._rows, self._phi_R, self._value_R = first.at(start_R), phi_R[start_R], value_R[start_R]
            return True
        fresh = self._look.write(n_ladders, self._generator)
        moved = self._moved(self._rows.at(slice(n_ladders, None)))
        proposed = joined([fresh, moved])
        phi_R, value_R = self._judged(proposed)
        log_a_R = self._tilt_R * (phi_R - self._phi_R)
        is_taken_R = self._uniform(n_rows).log() < log_a_R
        self._rows = self._rows.where(is_taken_R, proposed)
        self._phi_R = torch.where(is_taken_R, phi_R, self._phi_R)
        self._value_R = torch.where(is_taken_R, value_R, self._value_R)
        self._swap()
        self._n_sweeps += 1
        if self._n_sweeps > self._settings.n_burn_in:
            self._kept.append((self._phi_R.clone(), self._value_R.clone()))
        return True

    def figures(self, level: float) -> Figures:
        """The weight of the hits among all texts kept, with a jackknife over groups of ladders."""
        n_ladders = self._settings.n_ladders
        if not self._kept or not any(bool((value_R > 0).any()) for _, value_R in self._kept):
            return share_of_hits(0, len(self._kept) * n_ladders, level=level)
        shape = (len(self._kept), len(self._tilt_K), n_ladders)
        phi_TKC = torch.stack([phi_R for phi_R, _ in self._kept]).reshape(shape).numpy()
        value_TKC = torch.stack([value_R for _, value_R in self._kept]).reshape(shape).numpy()
        log_p, log_w_N = self._pooled(phi_TKC, value_TKC)
        low, high = self._interval(log_p, phi_TKC, value_TKC, level)
        log_hit_M = log_w_N[log_w_N > -math.inf]
        w_M = np.exp(log_hit_M - log_hit_M.max())
        is_apart = len(self._kept) < 2 or not r_hat(torch.from_numpy(value_TKC[:, -1])) < APART
        flags: tuple[Flag, ...] = ("not_mixed",) if is_apart else ()
        return Figures(
            log_p=log_p,
            log_low=low,
            log_high=min(high, 0.0),
            n_hits=len(log_hit_M),
            ess=float(w_M.sum() ** 2 / (w_M**2).sum()),
            max_weight_share=float(w_M.max() / w_M.sum()),
            flags=flags,
        )

    def _starts(self, phi_R: Float[Tensor, " R"]) -> Int[Tensor, " R"]:
        """Which of the first texts each chain starts from: of its own ladder's, in proportion to its rung's tilt."""
        n_ladders = self._settings.n_ladders
        phi_CK = phi_R.view(-1, n_ladders).T
        share_KCK = (self._tilt_K[:, None, None] * phi_CK).softmax(-1)
        rung_R = torch.multinomial(share_KCK.flatten(0, 1), 1, generator=self._generator)[:, 0]
        return rung_R * n_ladders + torch.arange(n_ladders).repeat(len(self._tilt_K))

    def _moved(self, rows: Written) -> Written:
        """The chains' proposals: all are cut at the same place; one place before the first is the prompt itself."""
        has_choice = len(free_choices(self._look.problem.texts.prompts)) > 0
        n_tokens = self._look.problem.texts.n_tokens
        cut = int(torch.randint(-1 if has_choice else 0, n_tokens, (1,), generator=self._generator))
        if cut < 0:
            return self._look.write(len(rows.tokens_NL), self._generator)
        return self._look.rewrite(rows, cut, self._generator)

    def _judged(self, rows: Written) -> tuple[Float[Tensor, " N"], Float[Tensor, " N"]]:
        """φ and P(event | text). Raises ConfigError for a φ that is no finite number."""
        seen: Seen = self._look.judge(rows, rows.log_p_N)
        observable = self._settings.observable
        phi_N = seen.score_N if observable is None else observable(self._look.problem.texts.answers(rows)).double()
        if not bool(phi_N.isfinite().all()):
            raise ConfigError("the observable of paths gave something else than finite numbers; clamp it")
        return phi_N, seen.value_N

    def _swap(self) -> None:
        """Neighbouring rungs of each ladder, pairs (0, 1), (2, 3), … and (1, 2), (3, 4), … in turn."""
        assert self._rows is not None
        n_ladders, order_R = self._settings.n_ladders, torch.arange(len(self._tilt_R))
        for rung in range(self._n_sweeps % 2, len(self._tilt_K) - 1, 2):
            low_C = torch.arange(rung * n_ladders, (rung + 1) * n_ladders)
            high_C = low_C + n_ladders
            gap = self._tilt_K[rung] - self._tilt_K[rung + 1]
            log_a_C = gap * (self._phi_R[high_C] - self._phi_R[low_C])
            swaps_C = self._uniform(n_ladders).log() < log_a_C
            order_R[low_C] = torch.where(swaps_C, high_C, low_C)
            order_R[high_C] = torch.where(swaps_C, low_C, high_C)
        self._rows, self._phi_R, self._value_R = self._rows.at(order_R), self._phi_R[order_R], self._value_R[order_R]

    def _pooled(
        self, phi_TKC: NDArray[np.float64], value_TKC: NDArray[np.float64]
    ) -> tuple[float, Float[NDArray[np.float64], " N"]]:
        """Logarithm of the estimate, and of each text's part in it."""
        n_sweeps, n_rungs, n_ladders = phi_TKC.shape
        energy_KN = -self._tilt_K.numpy()[:, None] * phi_TKC.reshape(1, -1)
        found = mbar(energy_KN, np.full(n_rungs, n_sweeps * n_ladders, dtype=np.int64))
        with np.errstate(divide="ignore"):
            log_w_N = found.log_weight_N + np.log(value_TKC.reshape(-1))
        return float(np.logaddexp.reduce(log_w_N)), log_w_N

    def _interval(
        self, log_p: float, phi_TKC: NDArray[np.float64], value_TKC: NDArray[np.float64], level: float
    ) -> tuple[float, float]:
        """Delete-a-group jackknife in the logarithm; minus infinity to 0 where one group holds all hits."""
        from scipy.stats import t

        n_ladders = self._settings.n_ladders
        n_groups = min(N_GROUPS, n_ladders)
        group_C = np.arange(n_ladders) % n_groups
        log_p_G = np.array(
            [
                self._pooled(phi_TKC[:, :, group_C != group], value_TKC[:, :, group_C != group])[0]
                for group in range(n_groups)
            ]
        )
        if not np.isfinite(log_p_G).all():
            return -math.inf, 0.0
        spread = math.sqrt((n_groups - 1) / n_groups * float(((log_p_G - log_p_G.mean()) ** 2).sum()))
        half = float(t.ppf((1 + level) / 2, n_groups - 1)) * spread
        return log_p - half, log_p + half

    def _uniform(self, n: int) -> Float[Tensor, " N"]:
        return torch.rand(n, generator=self._generator, dtype=torch.float64)
