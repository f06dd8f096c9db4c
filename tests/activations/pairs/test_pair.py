"""Pairs and pair sets: three states of a factor, faults named by pair, warnings that a person needs."""

import dataclasses

import numpy as np
import pytest
from activations.pairs.small_pairs import FACTORS, pair, pair_set

from bathyscope.activations.pairs.pair import Pair, PairSet, by_transition
from bathyscope.errors import ConfigError


def test_the_support_says_changed_unchanged_and_unknown():
    known, partly = pair(), Pair(before="a", after="b", support={"shape": True})
    unknown = Pair(before="a", after="c")
    assert pair_set(known, partly, unknown).support.tolist() == [[1, 0], [-1, 1], [-1, -1]]
    assert pair_set(unknown, factors=()).support.shape == (1, 0)


@pytest.mark.parametrize(
    ("broken", "line"),
    [
        (Pair(before="same", after="same"), "small, pair 2 .*both sides are equal"),
        (Pair(before=" ", after="b"), "the side 'before' is empty"),
        (Pair(before="a", after="b\0"), "the side 'after' is holding NUL"),
        (Pair(before="a", after="b", support={"size": True}), "'size', which is no factor of the set"),
        (Pair(before="a", after="b", support={"colour": False}, values_before={"colour": "red"},
              values_after={"colour": "blue"}), "'colour' is said to be unchanged, its values are 'red' and 'blue'"),
        (Pair(before="a", after="b", source="mine.jsonl, line 7", values_after={"x": "1"}), "mine.jsonl, line 7"),
    ],
)  # fmt: skip
def test_a_pair_that_is_none_is_refused_by_number_and_reason(broken, line):
    with pytest.raises(ConfigError, match=line):
        pair_set(pair(), broken)


def test_a_set_without_pairs_or_with_a_factor_twice_is_refused():
    with pytest.raises(ConfigError, match="holds no pairs"):
        pair_set()
    with pytest.raises(ConfigError, match="names the factor 'colour' twice"):
        pair_set(pair(), factors=("colour", "colour", "shape"))


def test_the_digest_speaks_of_content_and_not_of_names():
    one = pair_set(pair(), pair("x", "y"))
    assert dataclasses.replace(one, name="other").digest == one.digest
    assert pair_set(pair(), pair("x", "z")).digest != one.digest
    assert pair_set(pair("x", "y"), pair()).digest != one.digest, "order counts: rows of a store follow it"
    relabelled = pair_set(pair(), pair("x", "y", "shape"))
    assert relabelled.digest != one.digest


def test_what_is_suspicious_is_said_and_what_is_sound_is_not():
    sound = pair_set(
        *[pair(f"a{i}", f"b{i}", *c) for i, c in enumerate([("colour",), ("shape",), ("colour", "shape")])]
    )
    assert sound.warnings == []
    assert any("occur more than once" in line for line in pair_set(pair(), pair(), pair("x", "y", "shape")).warnings)
    never = pair_set(pair(), pair("x", "y"))
    assert "'shape' never changes: nothing can be learnt of it" in never.warnings
    assert any("'colour' changes in every pair" in line for line in never.warnings)
    few = PairSet(name="few", factors=("a", "b", "c"), pairs=(pair_unknown(), pair_unknown("v", "w")))
    assert "2 pairs for 3 factors: fewer pairs than concepts" in few.warnings
    assert "nothing is known of 'a' in any pair" in few.warnings
    grouped = pair_set(pair(group="g"), pair("x", "y", "shape", group="g"))
    assert any("cannot be halved" in line for line in grouped.warnings)


def pair_unknown(before: str = "x", after: str = "y") -> Pair:
    return Pair(before=before, after=after)


def test_factors_that_always_change_together_are_named():
    together = pair_set(
        pair("a", "b", "colour", "shape"), Pair(before="c", after="d", support={"colour": False, "shape": False})
    )
    assert together.warnings == ["'colour' and 'shape' always change together: nothing can tell them apart"]
    apart = pair_set(pair("a", "b", "colour", "shape"), pair("c", "d", "shape"), pair("e", "f", "colour"))
    assert apart.warnings == []


def valued(before: tuple[str, str], after: tuple[str, str]) -> Pair:
    sides = (dict(zip(FACTORS, side, strict=True)) for side in (before, after))
    one, other = sides
    support = {name: one[name] != other[name] for name in FACTORS}
    return Pair(before=" ".join(before), after=" ".join(after), support=support, values_before=one, values_after=other)


def test_transitions_are_factors_of_their_own_with_a_direction():
    pairs = pair_set(
        valued(("red", "flat"), ("blue", "flat")),
        valued(("blue", "flat"), ("red", "round")),
        valued(("red", "flat"), ("green", "flat")),
    )
    found = by_transition(pairs)
    assert found.factors == ("colour: blue/red", "colour: green/red", "shape: flat/round")
    assert found.support.tolist() == [[1, 0, 0], [1, 0, 1], [0, 1, 0]]
    assert found.directions.tolist() == [[-1, 0, 0], [1, 0, 1], [0, -1, 0]], "up is alphabetical"
    assert [p.sides for p in found.pairs] == [p.sides for p in pairs.pairs]
    with pytest.raises(ConfigError, match="gives no values of 'colour'"):
        by_transition(pair_set(pair()))


def test_directions_agree_with_values_and_are_0_where_nothing_is_known():
    pairs = pair_set(valued(("red", "flat"), ("blue", "round")), valued(("blue", "flat"), ("red", "flat")), pair())
    assert pairs.directions.tolist() == [[-1, 1], [1, 0], [0, 0]]
    assert pairs.directions.dtype == np.int8
