"""`Mixture`: texts of several laws at once, each weighed as if drawn from all of them together.

Source: the balance heuristic of Veach and Guibas (1995); the shares are learnt as in Cappé et al. (2008, Adaptive
importance sampling in general mixture classes, equation 8).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.risk.inputs.writing import Writing, Written, joined
from bathyscope.risk.look import Seen, concatenated
from bathyscope.risk.written_look import WrittenLook

MOST_APART = 0.1
"""Largest difference, in nats, between a text's log-probability when it was written and when it is read."""
N_CHECKED = 8
"""Texts of each law for which this is looked at."""
ROUNDS = 50


class Mixed(NamedTuple):
    """Texts of a mixture."""

    log_p_JN: Float[NDArray[np.float64], "J N"]
    """Natural logarithm of each text's probability under each law, given its prompt."""
    seen: Seen
    """What was judged of them."""
    n_J: Int[NDArray[np.int64], " J"]
    """Texts that each law wrote."""

    @property
    def log_q_N(self) -> Float[NDArray[np.float64], " N"]:
        """Natural logarithm of each text's probability under the mixture in which these texts were written."""
        with np.errstate(divide="ignore"):
            log_share_J = np.log(self.n_J / self.n_J.sum())
        return np.logaddexp.reduce(log_share_J[:, None] + self.log_p_JN, axis=0)


class Mixture:
    """Has texts written by several laws in given shares."""

    def __init__(self, look: WrittenLook, laws: Sequence[Writing], generator: torch.Generator) -> None:
        self._look, self._laws, self._generator = look, laws, generator
        self._is_checked = [False] * len(laws)
        self._parts: list[tuple[Tensor, Seen]] = []
        self._n_J = np.zeros(len(laws), dtype=np.int64)

    @property
    def n(self) -> int:
        """Texts so far."""
        return int(self._n_J.sum())

    def room(self) -> int:
        """Texts that can still be paid for: each is written by one law and read by the others."""
        return self._look.room(n_readings=len(self._laws) - 1, reserve=N_CHECKED * self._is_checked.count(False))

    def draw(self, n: int, share_J: Float[NDArray[np.float64], " J"]) -> None:
        """`n` more texts, so that all texts so far come as near to the shares as whole numbers can.

        Raises ConfigError for a law that reads its own texts with another probability than it wrote them.
        """
        lacking_J = np.maximum(share_J * (self.n + n) - self._n_J, 0)
        n_J = np.floor(lacking_J).astype(np.int64)
        missing = n - int(n_J.sum())
        n_J[np.argsort(n_J - lacking_J, kind="stable")[: max(missing, 0)]] += 1
        writers = [number for number in range(len(n_J)) if n_J[number]]
        written = [self._look.write(int(n_J[j]), self._generator, law=self._laws[j]) for j in writers]
        log_p_JN = torch.stack([self._log_p(law, writers, written) for law in range(len(self._laws))])
        seen = self._look.judge(joined(written), log_p_JN[0])
        self._parts.append((log_p_JN, seen))
        self._n_J += n_J

    def mixed(self) -> Mixed:
        """All texts so far."""
        log_p_JN = torch.cat(
            [torch.zeros(len(self._laws), 0, dtype=torch.float64), *(part[0] for part in self._parts)], 1
        )
        return Mixed(log_p_JN.numpy(), concatenated([seen for _, seen in self._parts]), self._n_J.copy())

    def _log_p(self, law: int, writers: Sequence[int], written: Sequence[Written]) -> Float[Tensor, " N"]:
        """How likely this law finds all texts; its own are known from when it wrote them."""
        parts = [
            self._own(law, texts) if writer == law else self._look.log_prob(self._laws[law], texts)
            for writer, texts in zip(writers, written, strict=True)
        ]
        return torch.cat(parts)

    def _own(self, law: int, written: Written) -> Float[Tensor, " N"]:
        """What the law said when it wrote; the first time, whether it says the same when it reads."""
        if not self._is_checked[law]:
            few = written.at(slice(N_CHECKED))
            apart = float((self._look.log_prob(self._laws[law], few) - few.log_p_N).abs().max())
            if not apart < MOST_APART:
                raise ConfigError(
                    f"{self._laws[law].name} reads its own texts with another probability than it wrote them, "
                    f"{apart:.2g} nats apart: steering that depends on when a token passes cannot be a proposal"
                )
            self._is_checked[law] = True
        return written.log_p_N


def best_shares(
    mixed: Mixed, share_J: Float[NDArray[np.float64], " J"], *, plain: float
) -> Float[NDArray[np.float64], " J"]:
    """Shares under which the hits among these texts would have been likelier, law 0 kept at `plain` or more.

    Each round gives a law the part of the hits' weight that it explains. Without hits the shares stay as they are.
    """
    hit_N = mixed.seen.value_N.numpy() > 0
    if not hit_N.any():
        return share_J
    log_p_JM = mixed.log_p_JN[:, hit_N]
    log_w_M = log_p_JM[0] - mixed.log_q_N[hit_N] + np.log(mixed.seen.value_N.numpy()[hit_N])
    w_M = np.exp(log_w_M - np.logaddexp.reduce(log_w_M))
    for _ in range(ROUNDS):
        log_part_JM = np.log(share_J)[:, None] + log_p_JM
        part_JM = np.exp(log_part_JM - np.logaddexp.reduce(log_part_JM, axis=0))
        share_J = np.maximum(part_JM @ w_M, math.ulp(1.0))
        share_J = share_J / share_J.sum()
    rest = share_J[1:] / share_J[1:].sum()
    first = max(float(share_J[0]), plain)
    return np.concatenate([[first], (1 - first) * rest])
