"""What is a number: NaN, infinities, truth values and texts are none."""

import numpy as np
import pytest

from bathyscope.errors import ConfigError
from bathyscope.steering.numbers import is_number, is_whole, require_number


@pytest.mark.parametrize("value", [0, -3, 10**400, np.int64(5)])
def test_integers_are_whole_numbers(value):
    assert is_whole(value) and is_number(value)


@pytest.mark.parametrize("value", [1.5, -0.0, np.float32(2.5)])
def test_finite_reals_are_numbers(value):
    assert is_number(value) and not is_whole(value)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), True, "4", None, [1]])
def test_everything_else_is_refused_by_its_name(value):
    assert not is_number(value) and not is_whole(value)
    with pytest.raises(ConfigError, match=r"strength is .*, expected a finite number"):
        require_number(value, "strength")
