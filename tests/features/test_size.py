"""Memory of an index, by hand, and its refusal."""

from bathyscope.features import size


def test_wide_dictionaries_are_encoded_a_few_rows_at_a_time():
    assert size.batch_rows(1024, 4096) == 4096
    assert size.batch_rows(1 << 20, 4096) == 64
    assert size.batch_rows(1 << 27, 4096) == 1


def test_tokens_near_misses_and_a_batch_are_counted():
    found = size.index_bytes(100, n_tokens=1000, near_misses=5, batch_tokens=10)
    assert found == 40 * 1000 + 12 * 4 * 5 * 100 + 2 * 4 * 10 * 100
