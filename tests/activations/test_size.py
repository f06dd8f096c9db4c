"""Room of a collection, by hand."""

from bathyscope.activations import size


def test_a_shard_holds_the_rows_asked_for_at_most_a_gigabyte_and_at_least_a_batch():
    assert size.shard_capacity(100, shard_rows=65_536, batch_tokens=2048) == 65_536
    assert size.shard_capacity(1 << 20, shard_rows=65_536, batch_tokens=512) == 1024
    assert size.shard_capacity(1 << 20, shard_rows=65_536, batch_tokens=2048) == 2048


def test_memory_is_the_shard_and_one_batch_disk_the_rows_and_columns():
    found = size.collect_bytes(8, row_bytes=16, shard_rows=100, batch_tokens=10)
    assert found == 16 * 100 + 4 * 16 * 8 * 10
    assert size.disk_bytes(1000, row_bytes=16) == 1000 * (16 + 26)
