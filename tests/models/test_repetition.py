"""How much a text repeats itself."""

import pytest

from bathyscope.models.repetition import repetition


def test_repetition_counts_three_token_sequences_that_stood_there_before():
    assert repetition([1, 2, 3, 1, 2, 3]) == pytest.approx(1 / 4)
    assert repetition([7] * 10) == pytest.approx(7 / 8)
    assert repetition([1, 2, 3, 4]) == 0
    assert repetition([1, 2]) == 0
