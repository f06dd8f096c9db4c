"""Vocabulary use by hand."""

import numpy as np

from bathyscope.explanations.usage import usage


def test_shares_are_over_the_whole_vocabulary():
    vocabulary = (*[f"frequent{i}" for i in range(250)], "sea", "harbour", "anchor", "tide")
    words = np.array([[251, 0], [251, 250], [251, 252]] + [[251, 252]] * 17)
    found = usage(words, vocabulary)
    assert found.diversity == 2 / 254  # harbour, anchor
    assert found.lexical == 2 / 254  # frequent0, sea
    assert found.dominate == 2 / 254  # harbour in 20 of 20 features, anchor in 18; one in 20 is no tenth
