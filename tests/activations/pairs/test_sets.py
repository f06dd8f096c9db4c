"""The named sets: what each promises, from the library's own templates (those of materials are in test_sources)."""

from collections import Counter

import pytest

from bathyscope.activations.pairs.draw import n_combinations
from bathyscope.activations.pairs.sets import SETS, TemplatePairs, pair_set
from bathyscope.activations.pairs.shares import quotas
from bathyscope.config import from_json
from bathyscope.errors import ConfigError

OWN = [name for name, entry in SETS.items() if isinstance(entry.source, TemplatePairs)]


@pytest.mark.parametrize("name", OWN)
def test_own_sets_are_sound_named_licensed_and_the_same_for_a_seed(name):
    pairs = pair_set(name, n=150, seed=4)
    assert pairs.name == name and pairs.n_pairs == 150
    assert name == "cat" or pairs.warnings == []
    assert pairs.materials[0]["licence"] == "Apache-2.0" and len(pairs.materials[0]["sha256"]) == 64
    assert pair_set(name, n=150, seed=4).digest == pairs.digest
    assert len(set(pairs.groups)) >= 20
    assert pairs.drawn["n"] == 150 and pairs.drawn["seed"] == 4
    assert from_json(TemplatePairs, pairs.drawn["source"]) == SETS[name].source


@pytest.mark.parametrize("name", OWN)
def test_own_sets_have_enough_different_pairs_for_their_usual_number(name):
    template = SETS[name].source._open()[0]
    for changed, quota in quotas(SETS[name].n, template.changes).items():
        assert n_combinations(template, changed) > 1.2 * quota


def test_language_and_gender_change_one_thing_in_one_direction():
    for name, factor, start in (("lang", "language", "English"), ("gender", "gender", "male")):
        pairs = pair_set(name, n=80)
        assert pairs.factors == (factor,) and (pairs.support == 1).all()
        assert {p.values_before[factor] for p in pairs.pairs} == {start}
        assert len(set(pairs.directions[:, 0].tolist())) == 1


def test_binary_has_n_of_each_single_change_and_four_times_as_many_of_both():
    pairs = pair_set("binary", n=120)
    assert Counter(map(tuple, pairs.support.tolist())) == {(1, 0): 20, (0, 1): 20, (1, 1): 80}


def test_correlated_changes_leave_english_one_at_a_time():
    pairs = pair_set("corr", n=100)
    assert pairs.factors == ("language: English/French", "language: English/German")
    assert (pairs.support.sum(axis=1) == 1).all() and 25 < pairs.support[:, 0].sum() < 75


def test_categories_have_135_transitions_of_which_three_at_most_change():
    pairs = pair_set("cat", n=150)
    assert len(pairs.factors) == 135, "also those that so few pairs do not show"
    assert set(pairs.support.sum(axis=1).tolist()) == {1, 2, 3}


def test_an_unknown_set_and_a_number_that_is_none_are_refused():
    with pytest.raises(ConfigError, match="no pair set is named 'binry'; nearest: binary"):
        pair_set("binry")
    with pytest.raises(ConfigError, match="n is 0"):
        pair_set("binary", n=0)
