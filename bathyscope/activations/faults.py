"""Where a store holds numbers that are not finite: shard, row in the shard and document of the first one."""

import torch

from bathyscope.activations.store import ActivationStore

READ_ROWS = 16_384
"""Rows looked at together."""


def first_fault(store: ActivationStore, hookpoint: str) -> str | None:
    """What the first shard with a NaN or an infinity holds, in words, or None when every activation is finite."""
    for start, stop, file in store.shards():
        bad, what = 0, ""
        for low in range(start, stop, READ_ROWS):
            x_ND = store.read(slice(low, min(low + READ_ROWS, stop)), hookpoint, dtype=None)
            bad_N = ~torch.isfinite(x_ND).all(1)
            if bad == 0 and bool(bad_N.any()):
                row = int(bad_N.nonzero()[0])
                name = "NaN" if bool(x_ND[row].isnan().any()) else "infinity"
                document = int(store.documents[store.row_tokens()[low + row]])
                what = (
                    f"{file} row {low + row - start} (document {document}) of {store.path} holds {name} at {hookpoint}"
                )
            bad += int(bad_N.sum())
        if bad:
            return f"{what}, {bad:,} such rows of {stop - start:,} in this shard"
    return None
