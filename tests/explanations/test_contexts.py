"""Context words on planted activations: shares by hand."""

import pytest
import torch
from features.planted import Stream, indexed, one_hot_dictionary
from tiny import D_MODEL

from bathyscope.dictionaries.rules import Positive
from bathyscope.explanations.contexts import ContextWords
from bathyscope.features.index import FeatureIndex, IndexSettings

TEXT = "the whale, the\n\n whale! and "


@pytest.fixture(scope="module")
def index(tmp_path_factory) -> FeatureIndex:
    stream = Stream([len(TEXT)] * 2, context=len(TEXT) + 1)
    stream.tokens[stream.kept] = list((TEXT * 2).encode())
    x_ND = torch.full((stream.n_rows, D_MODEL), -1.0)
    x_ND[4:9, 0] = 2.0  # "whale", 10 in all
    x_ND[0, 0] = 3.0  # "t" of "the"
    x_ND[9, 0] = 5.0  # ","
    x_ND[14:16, 0] = 1.0  # two line breaks
    x_ND[25, 1] = 1.0  # "d" of "and"
    settings = IndexSettings(window=32, window_before=20)
    return indexed(tmp_path_factory.mktemp("contexts"), stream, x_ND, one_hot_dictionary(rule=Positive()), settings)


def test_words_are_ranked_by_their_share_of_the_activation(index):
    words = ContextWords(index).words(0, n=9)
    assert words == [("whale", 0.5), (",", 0.25), ("the", 0.15), ("⏎", 0.1)]


def test_only_as_many_as_wanted_are_given_and_none_for_a_silent_feature(index):
    contexts = ContextWords(index)
    assert [word for word, _ in contexts.words(0, n=2)] == ["whale", ","]
    assert contexts.words(1, n=9) == [("and", 1.0)]
    assert contexts.words(2, n=9) == []
