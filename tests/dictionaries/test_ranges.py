"""What settings of kinds may hold, told by name."""

import math
from types import SimpleNamespace

import pytest

from bathyscope.dictionaries.ranges import require_k, require_not_negative, require_positive, require_shares_of_run
from bathyscope.errors import ConfigError


@pytest.mark.parametrize(
    ("check", "fits", "refused", "line"),
    [
        (require_positive, [1, 1e-9, None], [0, -1, math.inf, math.nan], "expected a positive number"),
        (require_not_negative, [0, 2.5, None], [-1e-9, math.inf, math.nan], "expected 0 or a positive number"),
        (require_shares_of_run, [0.0, 0.3, 1.0], [-0.1, 1.1, math.nan], "expected a share of the run from 0 to 1"),
    ],
)
def test_each_check_names_the_setting_and_what_fits(check, fits, refused, line):
    for value in fits:
        check(SimpleNamespace(fine=1, given=value), "fine", "given")
    for value in refused:
        with pytest.raises(ConfigError, match=f"given is {value}: {line}"):
            check(SimpleNamespace(fine=1, given=value), "fine", "given")


@pytest.mark.parametrize("k", [0, 9])
def test_more_active_features_than_there_are_are_refused(k):
    require_k(8, 8)
    with pytest.raises(ConfigError, match=f"k is {k}: expected 1 to n_features = 8"):
        require_k(k, 8)
