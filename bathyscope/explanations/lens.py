"""A fitted affine lens: where a direction at a hookpoint ends up in the final residual stream, on average.

    final ≈ x A + b    by ridge regression on tokens of explaining documents;  a direction d becomes d A

The logit lens takes A = 1. R² is measured on scoring documents, beside that of A = 1 with the best b, which is what
leaving the lens out amounts to. After Belrose et al. 2023 (arXiv 2303.08112, the tuned lens), by least squares on the
residual stream instead of by the output distribution.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor

from bathyscope import progress
from bathyscope.activations.store import ActivationStore
from bathyscope.dictionaries.transcoder import ridge
from bathyscope.models.hookpoints import resolve
from bathyscope.models.hooks import record
from bathyscope.models.model import Model
from bathyscope.models.padding import padded_inputs

FILE = "lens.safetensors"
BATCH = 16
"""Segments read at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lens:
    """A linear map from a hookpoint to the final residual stream, and how well it predicts."""

    A_DD: Float[Tensor, "D D"]
    r2: float
    """Share of variance of the final residual stream explained on scoring documents."""
    r2_identity: float
    """The same without a map, with the best offset."""
    n_tokens: int
    """Tokens that were fitted."""

    def through(self, directions_FD: Float[Tensor, "F D"]) -> Float[Tensor, "F D"]:
        """What the directions become."""
        return directions_FD.detach().float().cpu() @ self.A_DD

    def save(self, folder: Path) -> None:
        """Write `lens.safetensors`."""
        save_file({"A": self.A_DD.contiguous()}, folder / FILE)


def fit_lens(
    model: Model,
    store: ActivationStore,
    hookpoint: str,
    *,
    explaining: Int[np.ndarray, " M"],
    scoring: Int[np.ndarray, " K"],
    n_tokens: int,
) -> Lens:
    """The lens fitted on about `n_tokens` tokens of the explaining documents; R² on a quarter as many of the others."""
    x_ND, y_ND = _both_ends(model, store, hookpoint, explaining, n_tokens)
    mean_x, mean_y, scale = x_ND.mean(0), y_ND.mean(0), float(x_ND.square().mean()) ** 0.5
    A_DD = ridge((x_ND - mean_x) / scale, (y_ND - mean_y) / scale)
    new_x, new_y = _both_ends(model, store, hookpoint, scoring, max(1, n_tokens // 4))
    spread = float((new_y - new_y.mean(0)).double().square().sum())
    missed = [new_y - mean_y - (new_x - mean_x) @ map_DD for map_DD in (A_DD, torch.eye(len(A_DD)))]
    r2, r2_identity = (1 - float(each.double().square().sum()) / spread for each in missed)
    return Lens(A_DD=A_DD, r2=r2, r2_identity=r2_identity, n_tokens=len(x_ND))


def final_hookpoint(model: Model) -> str:
    """The output of the last block: what the final norm reads."""
    (name,) = resolve(model, f"blocks.{model.n_layers - 1}.hook_resid_post")
    return name


def _both_ends(
    model: Model, store: ActivationStore, hookpoint: str, documents: Int[np.ndarray, " M"], n_tokens: int
) -> tuple[Float[Tensor, "N D"], Float[Tensor, "N D"]]:
    """Kept tokens at the hookpoint and at the end, of whole segments until there are `n_tokens`."""
    last, xs, ys, n = final_hookpoint(model), list[Tensor](), list[Tensor](), 0
    for rows, kept in _segments(store, documents):
        with record(model, [hookpoint, last]) as found, torch.no_grad():
            model.network(**padded_inputs(model, rows, side="right"), use_cache=False)
        for number, keep in enumerate(kept):
            chosen = torch.from_numpy(np.flatnonzero(keep))
            xs.append(found[hookpoint][number].float().cpu()[chosen])
            ys.append(found[last][number].float().cpu()[chosen])
            n += len(chosen)
        progress.report("explain: lens", min(n, n_tokens), n_tokens, "tokens")
        if n >= n_tokens:
            break
    return torch.cat(xs), torch.cat(ys)


def _segments(
    store: ActivationStore, documents: Int[np.ndarray, " M"]
) -> Iterator[tuple[list[list[int]], list[np.ndarray]]]:
    """Batches of stretches that the model reads in one go: token ids, and which of them have activations."""
    own = np.flatnonzero(np.isin(store.documents, documents))
    starts = np.flatnonzero((np.diff(own, prepend=-2) != 1) | (store.positions[own] == 0))
    pieces = np.split(own, starts[1:])
    for first in range(0, len(pieces), BATCH):
        batch = pieces[first : first + BATCH]
        yield [store.tokens[piece].tolist() for piece in batch], [store.kept[piece] for piece in batch]
