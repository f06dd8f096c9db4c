"""Near misses: for each feature the tiles of text where it does not fire but comes closest to firing."""

import numpy as np
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
        """Row where it was reached, the first of them."""

    def update(
        self,
        pre_NF: Float[Tensor, "N F"],
        fires_NK: Bool[Tensor, "N K"],
        indices_NK: Int[Tensor, "N K"],
        tiles_N: Int[np.ndarray, " N"],
        *,
        first_row: int,
    ) -> None:
        """Take the next rows: pre-activations, which codes fire, and each row's tile (non-decreasing)."""
        if self.n == 0:
            return
        starts = np.flatnonzero(np.diff(tiles_N, prepend=-1))
        stops = np.append(starts[1:], len(tiles_N))
        best_TF = tile_maxima(pre_NF, starts, stops)
        ordinal_N = torch.from_numpy(np.repeat(np.arange(len(starts)), stops - starts)).to(pre_NF.device)
        best_TF[ordinal_N[:, None].expand_as(indices_NK)[fires_NK], indices_NK[fires_NK]] = -torch.inf
        best_FT = best_TF.masked_fill_(best_TF <= self.minimum, -torch.inf).T.cpu().contiguous()
        features, places, tile = self._merge(best_FT)
        starts, stops = starts[tile.numpy()], stops[tile.numpy()]
        columns_MF = pre_NF.cpu() if pre_NF.device.type != "cpu" else pre_NF
        self.rows[features, places] = first_row + _first_maxima(columns_MF, features, starts, stops)

    def join(self, later: "NearMisses") -> None:
        """Take in what was found in later rows."""
        values, order = torch.cat([self.values, later.values], dim=1).sort(dim=1, descending=True, stable=True)
        self.values = values[:, : self.n].contiguous()
        self.rows = torch.cat([self.rows, later.rows], dim=1).gather(1, order[:, : self.n])

    def _merge(self, best_FT: Float[Tensor, "F T"]) -> tuple[Int[Tensor, " M"], Int[Tensor, " M"], Int[Tensor, " M"]]:
        """Sort the tiles' values in; returns feature, place and tile of each that got in, its row yet to be found."""
        features, tiles = (best_FT > self.values[:, -1:]).nonzero(as_tuple=True)
        touched, ordinal, counts = features.unique_consecutive(return_inverse=True, return_counts=True)
        if len(touched) == 0:
            return touched, touched, touched
        slots = torch.arange(len(features)) - (counts.cumsum(0) - counts)[ordinal]
        new_values = torch.full((len(touched), int(counts.max())), -torch.inf)
        new_values[ordinal, slots] = best_FT[features, tiles]
        new_tiles = torch.zeros(new_values.shape, dtype=torch.int64)
        new_tiles[ordinal, slots] = tiles
        values, order = torch.cat([self.values[touched], new_values], dim=1).sort(dim=1, descending=True, stable=True)
        values, order = values[:, : self.n], order[:, : self.n]
        self.values[touched] = values
        self.rows[touched] = self.rows[touched].gather(1, order.clamp(max=self.n - 1))
        which, places = ((order >= self.n) & values.isfinite()).nonzero(as_tuple=True)
        return touched[which], places, new_tiles[which, order[which, places] - self.n]


def tile_maxima(
    pre_NF: Float[Tensor, "N F"], starts: Int[np.ndarray, " T"], stops: Int[np.ndarray, " T"]
) -> Float[Tensor, "T F"]:
    """Column maxima of each range of rows. NumPy on a CPU, where it is 20 times as fast as PyTorch (2.13)."""
    ranges = zip(starts.tolist(), stops.tolist(), strict=True)
    if pre_NF.device.type == "cpu":
        matrix = pre_NF.detach().numpy()
        return torch.from_numpy(np.stack([matrix[start:stop].max(axis=0) for start, stop in ranges]))
    return torch.stack([pre_NF[start:stop].amax(dim=0) for start, stop in ranges])


def _first_maxima(
    pre_NF: Float[Tensor, "N F"],
    features: Int[Tensor, " M"],
    starts: Int[np.ndarray, " M"],
    stops: Int[np.ndarray, " M"],
) -> Int[Tensor, " M"]:
    """The first row in each range at which the range's feature is largest."""
    if len(features) == 0:
        return features
    offsets = torch.arange(int((stops - starts).max()))
    last = torch.from_numpy(stops - 1)[:, None]
    rows = torch.minimum(torch.from_numpy(starts)[:, None] + offsets, last)
    return rows.gather(1, pre_NF[rows, features[:, None]].argmax(dim=1, keepdim=True)).squeeze(1)
