"""Near misses: for each feature the tiles of text where it does not fire but comes closest to firing."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class NearMisses:
    """The `n` best tiles of every feature so far; a tile in which the feature fires anywhere does not count.

    Takes whole tiles in row order; ties go to the earlier row, so the result does not depend on how rows are batched.
    Memory: 12 bytes per feature and candidate.
    """

    def __init__(self, n_features: int, n: int, *, minimum: float) -> None:
        """`minimum`: pre-activations must lie above it (0 for top-k, where a smaller one was not in the running)."""
        self.n, self.minimum = n, minimum
        self.values = torch.full((n_features, n), -torch.inf)
        """Highest pre-activation in each tile, best first; −inf where there are fewer than `n`."""
        self.rows = torch.zeros(n_features, n, dtype=torch.int64)
        """Row where it was reached."""

    def update(
        self,
        pre_NF: Float[Tensor, "N F"],
        fires_NK: Bool[Tensor, "N K"],
        indices_NK: Int[Tensor, "N K"],
        tiles: Int[Tensor, " N"],
        *,
        first_row: int,
    ) -> None:
        """Take the next rows: pre-activations, which codes fire, and each row's tile (non-decreasing)."""
        if self.n == 0:
            return
        _, lengths = torch.unique_consecutive(tiles, return_counts=True)
        best = [part.max(dim=0) for part in pre_NF.split(lengths.tolist())]
        values_TF = torch.stack([part.values for part in best])
        tile_starts = lengths.cumsum(0) - lengths
        rows_TF = torch.stack([part.indices for part in best]) + (tile_starts.to(pre_NF.device) + first_row)[:, None]
        ordinal_N = torch.repeat_interleave(torch.arange(len(lengths)), lengths).to(pre_NF.device)
        values_TF[ordinal_N[:, None].expand_as(indices_NK)[fires_NK], indices_NK[fires_NK]] = -torch.inf
        values_TF[values_TF <= self.minimum] = -torch.inf
        self._merge(values_TF.T.cpu(), rows_TF.T.cpu())

    def _merge(self, values_FT: Float[Tensor, "F T"], rows_FT: Int[Tensor, "F T"]) -> None:
        touched = (values_FT > self.values[:, -1:]).any(dim=1).nonzero().squeeze(1)
        values = torch.cat([self.values[touched], values_FT[touched]], dim=1)
        rows = torch.cat([self.rows[touched], rows_FT[touched]], dim=1)
        values, order = values.sort(dim=1, descending=True, stable=True)
        self.values[touched] = values[:, : self.n]
        self.rows[touched] = rows.gather(1, order[:, : self.n])
