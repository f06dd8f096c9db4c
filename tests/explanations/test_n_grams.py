"""Patterns of tokens on text where it is known after which runs a feature fires."""

import numpy as np
import pytest
from explanations.planted_text import reading_of, table_of

from bathyscope.explanations.n_grams import LONGEST, run_patterns, runs_of

WORDS = ["of", "the", "whale", "state", "united"]


def test_the_shortest_precise_run_is_kept(tmp_path):
    rng = np.random.default_rng(0)
    tokens = rng.integers(0, 5, (20, 40))
    flat, starts = tokens.ravel(), np.arange(tokens.size) % 40 == 0
    after_united = (flat == 3) & (np.roll(flat, 1) == 4) & ~starts  # "united state"
    values = np.stack([flat == 2, after_united, np.zeros(tokens.size)], axis=1).astype(float)
    reading = reading_of(tmp_path / "p", tokens, values, table_of(WORDS))
    found = run_patterns(reading, n=4)
    assert found.lengths[0].tolist() == [1, 0, 0, 0]
    assert reading.corpus.tokens[found.last[0, 0]] == 2
    assert (found.precision[0, 0], found.reach[0, 0]) == (1.0, 1.0)
    assert found.lengths[1, 0] == 2  # "state" alone is announced by firing one time in five
    last = found.last[1, 0]
    assert reading.corpus.tokens[last - 1 : last + 1].tolist() == [4, 3]
    assert found.precision[1, 0] == 1.0
    assert (found.last[2] == -1).all()


def test_equal_runs_have_equal_numbers_and_none_crosses_a_document(tmp_path):
    tokens = np.random.default_rng(1).integers(0, 3, (4, 12))
    reading = reading_of(tmp_path / "p", tokens, np.zeros((48, 1)), table_of(WORDS))
    for length, ids in enumerate(runs_of(reading.corpus), start=1):
        assert length <= LONGEST
        seen: dict[int, tuple[int, ...]] = {}
        for row, number in enumerate(ids.tolist()):
            place = row % 12
            if place < length - 1:
                assert number == -1
                continue
            run = tuple(tokens[row // 12, place - length + 1 : place + 1].tolist())
            assert seen.setdefault(number, run) == run
        assert len(set(seen.values())) == len(seen)


def test_reach_is_the_share_of_firings_that_no_shorter_run_announces(tmp_path):
    tokens = np.array([[0, 2, 0, 2, 1, 3, 1, 3, 0, 1] * 10])
    values = np.isin(tokens.ravel(), [2, 3]).astype(float)[:, None]
    found = run_patterns(reading_of(tmp_path / "p", tokens, values, table_of(WORDS)), n=5)
    assert found.reach[0] == pytest.approx([0.5, 0.5, 0, 0, 0])
