"""The k largest pre-activations of each token, from tiles of the encoder's product."""

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.kernels.gpu import product
from bathyscope.dictionaries.kernels.gpu.largest import Entries, in_order_of_feature, largest_of, largest_values
from bathyscope.dictionaries.kernels.gpu.product import Encoder
from bathyscope.dictionaries.kernels.select import Pairs

WORKSPACE_BYTES = 512 << 20
"""Candidates, or pre-activations where there are few tiles, that are held at once."""


def largest(
    centred_ND: Float[Tensor, "N D"],
    W_enc_FD: Float[Tensor, "F D"],
    b_enc_F: Float[Tensor, " F"],
    k: int,
    *,
    absolute: bool,
) -> Pairs:
    """`ReLU` of the k largest of `centred @ W_encᵀ + b_enc`, features rising, lowest among equals; no gradients.

    With `absolute` the k of largest size, as they are. Sums are float32; values are rounded to the element type of
    `centred` once. NaN is kept where fewer than k numbers are left.
    """
    encoder = Encoder(centred_ND.contiguous(), W_enc_FD.contiguous(), b_enc_F.contiguous())
    n, n_features, m = len(centred_ND), len(W_enc_FD), product.candidates_per_tile(len(W_enc_FD), k)
    is_fused = m <= product.MOST_PER_TILE
    row_bytes = 8 * (encoder.n_tiles * (m + 2) + k * product.COLUMNS // m) if is_fused else 4 * n_features
    n_rows = max(1, WORKSPACE_BYTES // row_bytes)
    bounds = [*range(0, max(n, 1), n_rows), n]
    parts = [encoder._replace(centred_ND=encoder.centred_ND[start:stop]) for start, stop in pairwise(bounds)]
    found = [
        _of_tiles(part, k, m, absolute=absolute) if is_fused else _of_rows(part, k, absolute=absolute) for part in parts
    ]
    entries = Entries(*map(torch.cat, zip(*found, strict=True)))
    values_NK, indices_NK = in_order_of_feature(entries, absolute=absolute)
    return Pairs((values_NK if absolute else values_NK.relu()).to(centred_ND.dtype), indices_NK)


def _of_tiles(encoder: Encoder, k: int, m: int, *, absolute: bool) -> Entries:
    """From m candidates per tile, and from all of a tile where they may not be enough. Never waits for the device."""
    candidates = product.first_of_tiles(encoder, m, absolute=absolute)
    kept = largest_of(candidates.entries, k)
    rest = product.rest_of_tiles(encoder, m, candidates.rest, kept, absolute=absolute)
    return largest_of(Entries(*(torch.cat(pair, 1) for pair in zip(kept, rest, strict=True))), k)


def _of_rows(encoder: Encoder, k: int, *, absolute: bool) -> Entries:
    """From all pre-activations of a few rows: with few tiles these are small."""
    return largest_values(product.all_of_tiles(encoder), k, absolute=absolute)
