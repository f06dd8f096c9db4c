"""How much memory and disk a collection takes, from its sizes alone: for refusals before work, and for plans of it."""

MAX_SHARD_BYTES = 1 << 30
"""Memory for the shard that is being filled, all hookpoints together; wide or many hookpoints make smaller shards."""
TOKEN_BYTES = 2 * (4 + 4 + 4 + 1)
"""Disk room of a token's id, document, position and mark while they are written once more as columns."""
PASSING_ROWS = 16
"""Float32 tensors of the model's width that a token has alive inside one block, its MLP included."""


def shard_capacity(row_bytes: int, *, shard_rows: int, batch_tokens: int) -> int:
    """Rows that a shard may hold; at least those of one batch."""
    return max(min(shard_rows, MAX_SHARD_BYTES // row_bytes), batch_tokens)


def collect_bytes(d_model: int, *, row_bytes: int, shard_rows: int, batch_tokens: int) -> int:
    """Memory of a collection besides the model: the shard that is being filled, and one batch on its way."""
    shard = row_bytes * shard_capacity(row_bytes, shard_rows=shard_rows, batch_tokens=batch_tokens)
    return shard + 4 * PASSING_ROWS * d_model * batch_tokens


def disk_bytes(n_tokens: int, *, row_bytes: int) -> int:
    """Disk room of a finished collection of `n_tokens` rows."""
    return n_tokens * (row_bytes + TOKEN_BYTES)
