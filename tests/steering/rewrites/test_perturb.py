"""Perturbed copies: as many characters as asked, in the way that was asked, and the same whenever asked."""

import itertools

import pytest

from bathyscope.errors import ConfigError
from bathyscope.steering.rewrites.perturb import ALPHABET, Perturb
from bathyscope.steering.rewrites.rewrite import Rewrite

TEXT = "é" * 100
"""None of its characters is ever drawn, so every change shows."""


def changed(text: str) -> list[int]:
    return [place for place, character in enumerate(text) if character != "é"]


def test_a_share_of_the_characters_is_swapped():
    for copy in Perturb(share=0.1, n_copies=5).texts(TEXT):
        assert len(copy) == 100 and len(changed(copy)) == 10
        assert set(copy) - {"é"} <= set(ALPHABET)


def test_a_patch_stands_side_by_side():
    starts: set[int] = set()
    for copy in Perturb(share=0.1, n_copies=8, way="patch").texts(TEXT):
        places = changed(copy)
        assert len(copy) == 100 and places == list(range(places[0], places[0] + 10))
        starts.add(places[0])
    assert len(starts) > 4


def test_insertions_leave_every_character():
    for copy in Perturb(share=0.1, way="insert").texts(TEXT):
        assert len(copy) == 110 and copy.count("é") == 100 and copy[0] == "é"
        places = changed(copy)
        assert all(after - before > 1 for before, after in itertools.pairwise(places))


def test_a_larger_share_changes_more_and_the_rest_alike():
    few, many = (Perturb(share=share).texts(TEXT) for share in (0.05, 0.2))
    for small, large in zip(few, many, strict=True):
        assert set(changed(small)) < set(changed(large))
        assert all(small[place] == large[place] for place in changed(small))


def test_copies_differ_from_each_other_and_from_those_of_another_seed_or_text():
    own = Perturb(share=0.1, n_copies=4)
    copies = own.texts(TEXT)
    assert len(set(copies)) == 4 and copies == own.texts(TEXT)
    assert not set(copies) & set(Perturb(share=0.1, n_copies=4, seed=1).texts(TEXT))
    assert changed(own.texts(TEXT + "é")[0]) != changed(copies[0])
    assert own.texts(TEXT)[:2] == Perturb(share=0.1, n_copies=2).texts(TEXT), "more copies leave the first as they are"


def test_short_texts_change_too_and_empty_ones_stay():
    assert all(len(changed(copy)) == 1 for copy in Perturb(share=0.05).texts("éé"))
    assert Perturb(share=0.05).texts("") == ["", "", ""]


def test_what_cannot_be_is_refused():
    for share in (0.0, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="share of characters"):
            Perturb(share=share)
    with pytest.raises(ConfigError, match="n_copies must be at least 1"):
        Perturb(share=0.1, n_copies=0)


def test_it_is_a_rewrite_that_tells_its_settings():
    own = Perturb(share=0.1, way="patch")
    assert isinstance(own, Rewrite)
    others = [Perturb(share=0.2, way="patch"), Perturb(share=0.1), Perturb(share=0.1, way="patch", seed=2)]
    assert all(own.identity != other.identity for other in others)
