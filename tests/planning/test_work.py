"""Parts and rates: seconds are amounts over rates, and sums are of parts."""

import pytest
from planning.rates import ROUND

from bathyscope.errors import ConfigError
from bathyscope.planning.work import SORTS, UNITS, Rates, total_bytes, total_flops, total_seconds


def test_seconds_are_the_amount_over_the_rate():
    part = ROUND.part("a product", "product", 3e11)
    assert (part.sort, part.amount, part.seconds) == ("product", 3e11, 3.0)


def test_sums_take_each_unit_apart():
    parts = [ROUND.part("a", "product", 1e11), ROUND.part("b", "scan", 2e9), ROUND.part("c", "step", 50)]
    assert total_seconds(parts) == 1 + 2 + 0.5
    assert total_flops(parts) == 1e11
    assert total_bytes(parts) == 2e9


def test_every_sort_has_a_unit_and_a_rate_is_wanted_for_each():
    assert set(UNITS) == set(SORTS)
    with pytest.raises(ConfigError, match="rates lack product"):
        Rates(per_second={sort: 1.0 for sort in SORTS if sort != "product"})
    for bad in (0.0, -1.0, float("inf"), float("nan")):
        with pytest.raises(ConfigError, match="scan"):
            Rates(per_second={**ROUND.per_second, "scan": bad})
