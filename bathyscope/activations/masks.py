"""Which tokens get no row: special tokens, and attention sinks, whose norm is far above that of other tokens.

A sink is a token whose activation norm at any hookpoint exceeds a multiple of the median norm there. The medians come
from the first batch alone: whether a token is a sink depends on nothing that is read later, nor on its batch.
"""

import logging
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from torch import Tensor

log = logging.getLogger(__name__)


class Mask:
    """The rule of one collection, and how many tokens it has masked so far."""

    def __init__(self, special: Collection[int], *, sink_multiple: float, state: Mapping[str, Any]) -> None:
        self._special, self._multiple = np.array(sorted(special), dtype=np.int64), sink_multiple
        self.median_norms: dict[str, float] = dict(state.get("median_norms", {}))
        """Hookpoint → median norm of the ordinary tokens of the first batch that has some."""
        self.n_special: int = state.get("n_special", 0)
        self.n_sinks: int = state.get("n_sinks", 0)

    def state(self) -> dict[str, Any]:
        """What a checkpoint keeps and `__init__` takes back."""
        return {"median_norms": self.median_norms, "n_special": self.n_special, "n_sinks": self.n_sinks}

    @property
    def is_settled(self) -> bool:
        """Whether no more than a token and its norms are needed to tell if it gets a row."""
        return not self._multiple or bool(self.median_norms)

    def settle(self, tokens_N: Int[np.ndarray, " N"], x_ND: Mapping[str, Float[Tensor, "N _"]]) -> None:
        """Take the medians from a batch that is not kept, if it has ordinary tokens and there are none yet."""
        if not self.is_settled:
            self._settle(~np.isin(tokens_N, self._special), _norms(x_ND))

    def kept(self, tokens_N: Int[np.ndarray, " N"], x_ND: Mapping[str, Float[Tensor, "N _"]]) -> Bool[np.ndarray, " N"]:
        """True for the tokens that get a row."""
        ordinary_N = ~np.isin(tokens_N, self._special)
        kept_N = ordinary_N.copy()
        if self._multiple:
            norms = _norms(x_ND)
            if not self.is_settled:
                self._settle(ordinary_N, norms)
            for name, median in self.median_norms.items():
                if median:
                    kept_N &= norms[name] <= self._multiple * median
        self.n_special += int((~ordinary_N).sum())
        self.n_sinks += int((ordinary_N & ~kept_N).sum())
        return kept_N

    def _settle(self, ordinary_N: Bool[np.ndarray, " N"], norms: Mapping[str, Float[np.ndarray, " N"]]) -> None:
        if ordinary_N.any():
            self.median_norms = {name: _median(name, norms_N[ordinary_N]) for name, norms_N in norms.items()}


def _norms(x_ND: Mapping[str, Float[Tensor, "N _"]]) -> dict[str, Float[np.ndarray, " N"]]:
    return {name: x.float().norm(dim=1).cpu().numpy() for name, x in x_ND.items()}


def _median(name: str, norms_N: Float[np.ndarray, " N"]) -> float:
    median = float(np.median(norms_N.astype(np.float64)))
    if median == 0:
        log.warning("%s: half of the activations are zero, attention sinks are not masked by it", name)
    return median
