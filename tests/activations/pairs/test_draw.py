"""Drawing pairs from a template: only what should differs differs, in the asked shares, each pair once, same bytes."""

from collections import Counter

import pytest
from activations.pairs.small_pairs import template

from bathyscope.activations.pairs import draw
from bathyscope.activations.pairs.draw import draw_pairs, n_combinations
from bathyscope.errors import ConfigError


def test_the_support_is_true_and_nothing_else_differs():
    things = template()
    for pair in draw_pairs(things, n=40, seed=3).pairs:
        before, after = pair.before.split(), pair.after.split()
        for factor, place in (("colour", 1), ("shape", 2)):
            assert (before[place] != after[place]) == pair.support[factor]
            assert before[place] == pair.values_before[factor] and after[place] == pair.values_after[factor]
        assert before[3:] == after[3:]
        assert pair.group == f"thing={before[3]}, place={before[4]}"


def test_all_combinations_are_as_many_as_counted_by_hand():
    things = template()
    contexts, colours, shapes = 6, 3 * 2, 2 * 1
    assert n_combinations(things, ("colour",)) == contexts * colours * 2
    assert n_combinations(things, ("shape",)) == contexts * 3 * shapes
    assert n_combinations(things, ("colour", "shape")) == contexts * colours * shapes
    pairs = draw_pairs(things)
    assert pairs.n_pairs == 72 + 36 + 72 == len({p.sides for p in pairs.pairs})


def test_changes_come_in_their_shares():
    pairs = draw_pairs(template(), n=41, seed=0)
    assert Counter(map(tuple, pairs.support.tolist())) == {(1, 0): 10, (0, 1): 10, (1, 1): 21}


def test_at_most_takes_every_small_set_of_factors_equally_often():
    changes = dict(template().changes)
    assert changes == {("colour",): 1, ("shape",): 1, ("colour", "shape"): 2}
    table = {"changes": {}, "at_most": 1}
    pairs = draw_pairs(template(**table), n=20, seed=0)
    assert Counter(map(tuple, pairs.support.tolist())) == {(1, 0): 10, (0, 1): 10}


def test_a_seed_decides_everything_and_another_seed_something_else():
    one, again, other = (draw_pairs(template(), n=30, seed=seed) for seed in (5, 5, 6))
    assert one.pairs == again.pairs and one.digest == again.digest
    assert {p.sides for p in one.pairs} != {p.sides for p in other.pairs}


def test_large_templates_are_drawn_without_being_listed(monkeypatch):
    monkeypatch.setattr(draw, "PERMUTED", 1)
    pairs = draw_pairs(template(), n=100, seed=0)
    assert len({p.sides for p in pairs.pairs}) == 100


def test_starts_fix_the_direction_of_a_change():
    pairs = draw_pairs(template(starts={"colour": ["red"], "shape": ["flat"]}))
    assert {p.values_before["colour"] for p in pairs.pairs} == {"red"}
    assert {p.values_after["colour"] for p in pairs.pairs} == {"red", "orange", "blue"}
    assert {(p.values_before["shape"], p.values_after["shape"]) for p in pairs.pairs} == {
        ("flat", "flat"),
        ("flat", "round"),
    }


def test_weights_correlate_factors():
    weights = [{"when": {"colour": "red", "shape": "round"}, "weight": 8.0}]
    many = {"context": {"thing": [f"box {i}" for i in range(300)]}, "text": "{colour} {shape} {thing}"}
    for given, low, high in ((weights, 0.5, 0.9), ([], 0.05, 0.28)):
        pairs = draw_pairs(template(**many, weights=given, changes={"colour": 1}), n=150, seed=0)
        both = [p.values_before == {"colour": "red", "shape": "round"} for p in pairs.pairs]
        assert low < sum(both) / 150 < high, "one in six without weights, 8 of 13 with them"


def test_more_pairs_than_there_are_is_refused_by_change():
    with pytest.raises(ConfigError, match="only 36 different pairs that change shape, 50 are asked"):
        draw_pairs(template(), n=200)
    with pytest.raises(ConfigError, match="n is 0"):
        draw_pairs(template(), n=0)


def test_combinations_that_read_the_same_are_passed_over(caplog):
    deaf = template(text="{colour} {thing}", changes={"colour": 1, "shape": 1})
    with pytest.raises(ConfigError, match="only 0 different pairs that change shape"):
        draw_pairs(deaf, n=4)
    silent = template(text="{colour} {thing}", changes={"colour": 1})
    pairs = draw_pairs(silent)
    assert pairs.n_pairs == 3 * 2 * 2, "places and shapes do not show: each text pair once"


def test_a_template_with_one_context_groups_by_the_first_text():
    pairs = draw_pairs(template(context={}, text="{colour} {shape}"))
    assert all(p.group == p.before for p in pairs.pairs)


def test_a_prefix_is_shared_and_must_not_change():
    asked = draw_pairs(template(prefix="In the {thing}: "))
    assert {p.prefix for p in asked.pairs} == {"In the box: ", "In the cup: "}
    with pytest.raises(ConfigError, match="the prefix depends on what changes"):
        draw_pairs(template(prefix="{colour}? "))
