"""Rules: which features are kept."""

import pytest
import torch

from bathyscope.dictionaries.rules import Above, Largest, Linear, Positive
from bathyscope.errors import ConfigError

PRE_NF = torch.tensor([[0.5, -1.0, 2.0, 1.0], [-3.0, -2.0, -1.0, -4.0]])


def test_positive_keeps_what_is_positive():
    assert Positive().keep(PRE_NF, None).dense().tolist() == [[0.5, 0, 2, 1], [0, 0, 0, 0]]


def test_largest_selects_before_relu():
    codes = Largest(k=2).keep(PRE_NF, None)
    assert codes.dense().tolist() == [[0, 0, 2, 1], [0, 0, 0, 0]]
    assert codes.values_NK.shape == (2, 2)


def test_linear_keeps_everything_with_its_sign():
    assert Linear().keep(PRE_NF, None).dense().tolist() == PRE_NF.tolist()


def test_above_is_strict_and_keeps_the_whole_value():
    codes = Above().keep(PRE_NF, torch.tensor([0.5, -2.0, 1.5, 0.2]))
    assert codes.dense().tolist() == [[0, 0, 2, 1], [0, 0, 0, 0]]


def test_above_without_a_threshold_is_refused():
    with pytest.raises(ConfigError, match="holds no threshold"):
        Above().keep(PRE_NF, None)
