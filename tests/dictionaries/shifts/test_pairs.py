"""What can be learnt from: bad pairs are refused or warned about by name."""

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.dictionaries.shifts.pairs import checked_shifts, shifts_of
from bathyscope.errors import ConfigError


def test_a_shift_is_the_second_side_less_the_first():
    pairs = torch.randn(4, 2, 3)
    torch.testing.assert_close(shifts_of(pairs), pairs[:, 1] - pairs[:, 0])


@pytest.mark.parametrize("shape", [(8, 3), (4, 3, 3), (4, 2, 3, 1)])
def test_other_shapes_than_pairs_are_refused_with_the_reason(shape):
    with pytest.raises(ConfigError, match=r"expected \[P, 2, D\].*does not say which rows belong together"):
        shifts_of(torch.zeros(shape))


def test_pairs_that_are_all_equal_are_refused():
    with pytest.raises(ConfigError, match="two sides of all 7 pairs are equal"):
        checked_shifts(torch.zeros(7, 3), n_features=2)


def test_some_equal_pairs_are_left_out_with_a_warning(caplog):
    shifts_PD = sparse_shifts()[0]
    shifts_PD[[3, 5]] = 0
    checked = checked_shifts(shifts_PD, n_features=5)
    assert len(checked.shifts_PD) == len(shifts_PD) - 2
    assert checked.warnings == ("2 of 2000 pairs have equal sides and are left out",)
    assert checked.warnings[0] in caplog.text


def test_fewer_pairs_than_columns_are_refused():
    with pytest.raises(ConfigError, match="4 pairs with a shift are fewer than the 5 columns"):
        checked_shifts(torch.randn(4, 8), n_features=5)


def test_the_pair_with_a_number_that_is_not_finite_is_named():
    shifts_PD = torch.randn(40, 3)
    shifts_PD[11, 1] = torch.nan
    with pytest.raises(ConfigError, match="pair 11 holds NaN"):
        checked_shifts(shifts_PD, n_features=2)


def test_dimensions_that_never_vary_are_named_apart():
    shifts_PD = torch.randn(100, 5)
    shifts_PD[:, 0], shifts_PD[:, 1:3] = 0, 2.0
    warnings = checked_shifts(shifts_PD, n_features=2).warnings
    assert warnings == ("1 of 5 dimensions never change", "2 of 5 dimensions change by the same amount in every pair")


def test_more_columns_than_dimensions_and_few_pairs_are_warned_about():
    warnings = checked_shifts(torch.randn(30, 4), n_features=6).warnings
    assert [warning.split(":")[0] for warning in warnings] == ["6 columns in 4 dimensions", "30 pairs for 6 columns"]


def test_ordinary_shifts_give_no_warning():
    assert checked_shifts(sparse_shifts()[0], n_features=5).warnings == ()
