"""Addition: hand computations of the causal model and of what an intervention makes of it."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.addition import POSITIONS, VOCABULARY, Addition, Intervention, crossing

WORLD = Addition()


def text(rows_NS: torch.Tensor) -> list[str]:
    return ["".join(VOCABULARY[token] for token in row) for row in rows_NS.tolist()]


def held(variable, value: int, first: int, second: int) -> str:
    sums_N2 = torch.tensor([[first, second]])
    return text(WORLD.answers(sums_N2, Intervention(variable, torch.tensor([value]))))[0]


def test_sums_are_written_with_the_most_significant_digit_first():
    assert text(WORLD.rows(torch.tensor([[16, 25], [99, 99], [0, 7]]))) == ["16+25=041", "99+99=198", "00+07=007"]
    assert [POSITIONS[name] for name in ("u2", "equals", "hundreds")] == [4, 5, 6]


def test_every_answer_is_the_sum():
    sums_N2 = WORLD.sums()
    digits_N3 = WORLD.answers(sums_N2)
    assert len(sums_N2) == 10_000 and len(sums_N2.unique(dim=0)) == 10_000
    assert torch.equal(digits_N3 @ torch.tensor([100, 10, 1]), sums_N2.sum(1))
    assert WORLD.sums()[WORLD.number_of(16, 25)].tolist() == [16, 25]


def test_without_its_carry_16_and_25_is_31():
    assert held("carry", 0, 16, 25) == "031"
    assert held("carry", 1, 16, 25) == "041"
    assert held("carry", 1, 12, 25) == "047"
    assert held("carry", 0, 45, 57) == "092", "hundreds follow the tens"
    assert held("units", 7, 16, 25) == "047"
    assert held("tens", 12, 16, 25) == "121"


def test_a_smaller_base_has_the_same_model():
    world = Addition(base=5)
    assert len(world.sums()) == 625
    sums_N2 = torch.tensor([[13, 9]])  # 23 + 14 in base 5
    assert text(world.rows(sums_N2)) == ["23+14=042"]
    assert text(world.answers(sums_N2, Intervention("carry", torch.tensor([0])))) == ["032"]


def test_a_value_that_a_variable_cannot_take_is_refused():
    with pytest.raises(ConfigError, match="carry cannot be"):
        held("carry", 2, 16, 25)
    with pytest.raises(ConfigError, match="100 \\+ 3 is no two-digit sum"):
        WORLD.rows(torch.tensor([[1, 2], [100, 3]]))
    with pytest.raises(ConfigError, match="base 11"):
        Addition(base=11)


def test_both_parts_of_a_split_make_up_all_sums():
    train_N, held_M = WORLD.split(held_out=0.2, seed=3)
    assert (len(train_N), len(held_M)) == (8000, 2000)
    assert torch.equal(torch.cat([train_N, held_M]).sort().values, torch.arange(10_000))
    assert not torch.equal(held_M, WORLD.split(held_out=0.2, seed=4)[1])
    with pytest.raises(ConfigError, match="leaves one side empty"):
        WORLD.split(held_out=0.0, seed=0)


def test_crossing_pairs_always_ask_for_another_answer():
    carry_N, among_M = WORLD.variables(WORLD.sums()).carry_N, torch.arange(0, 10_000, 7)
    for value_N in (carry_N, WORLD.wrong("first number is large"), WORLD.wrong("shuffled carry", seed=1)):
        base_P, source_P = crossing(value_N, carry_N, among_M, n_sources=3, seed=0)
        assert bool((value_N[source_P] != carry_N[base_P]).all())
        assert torch.equal(base_P, among_M.repeat_interleave(3))
        assert set(source_P.tolist()) <= set(among_M.tolist())
        sums_N2 = WORLD.sums()
        wanted = WORLD.answers(sums_N2[base_P], Intervention("carry", value_N[source_P]))
        assert bool((wanted != WORLD.answers(sums_N2[base_P])).any(1).all())


def test_a_wrong_variable_is_taken_from_sources_that_have_the_carry_of_the_base():
    carry_N, value_N = WORLD.variables(WORLD.sums()).carry_N, WORLD.wrong("odd tens")
    base_P, source_P = crossing(value_N, carry_N, torch.arange(5000), n_sources=2, seed=0, same_carry=True)
    assert torch.equal(carry_N[base_P], carry_N[source_P]), "an exchange of the carry would change nothing"
    assert bool((value_N[source_P] != carry_N[base_P]).all())


def test_pairs_that_cannot_cross_are_refused():
    carry_N = WORLD.variables(WORLD.sums()).carry_N
    without = (carry_N == 0).nonzero()[:, 0]
    with pytest.raises(ConfigError, match="no pair crosses"):
        crossing(carry_N, carry_N, without, n_sources=1, seed=0)


def test_wrong_variables_are_not_the_carry_and_the_shuffled_one_is_as_frequent():
    carry_N = WORLD.variables(WORLD.sums()).carry_N
    for name in ("first number is large", "odd tens", "shuffled carry"):
        value_N = WORLD.wrong(name)
        agreement = float((value_N == carry_N).double().mean())
        assert 0.4 < agreement < 0.6, name
    assert int(WORLD.wrong("shuffled carry").sum()) == int(carry_N.sum()) == 4500
