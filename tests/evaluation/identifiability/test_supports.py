"""Supports: what they allow is told before anything is learnt."""

import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.supports import joined, support_report
from bathyscope.evaluation.worlds.shifts import ShiftWorld, ShiftWorldSettings


def supports(kind, n_concepts=6, **settings):
    world = ShiftWorldSettings(n_concepts=n_concepts, d_model=8, max_changed=4, supports=kind, **settings)
    return ShiftWorld(world).sample(2000, seed=0).support_PC


def test_free_supports_identify_and_counts_are_those_of_the_pairs():
    support_PC = supports("free")
    found = support_report(support_PC)
    assert found.verdict == "identifiable" and found.reasons == () and found.blocks == ()
    assert int(found.shown_CC[2, 4]) == int((support_PC[:, 4] & ~support_PC[:, 2]).sum())
    assert found.changes_C.tolist() == support_PC.sum(0).tolist()


def test_dense_supports_identify_nothing():
    found = support_report(supports("dense"))
    assert found.verdict == "not identifiable"
    assert found.reasons == ("every concept changes in every pair: dense supports identify nothing",)
    assert found.always == found.names and found.blocks == (found.names,)


def test_concepts_that_always_change_together_are_a_block():
    found = support_report(supports("together"), names=("a", "b", "c", "d", "e", "f"))
    assert found.verdict == "not identifiable"
    assert found.blocks == (("a", "b"), ("c", "d"), ("e", "f"))
    assert found.reasons == ("a and b never separate", "c and d never separate", "e and f never separate")


def test_one_concept_inside_another_is_named_with_its_direction():
    support_PC = supports("free").clone()
    support_PC[:, 0] |= support_PC[:, 1]
    found = support_report(support_PC)
    assert found.verdict == "not identifiable"
    assert found.reasons == ("concept 1 never changes without concept 0",)
    assert found.blocks == (("concept 0", "concept 1"),)


def test_a_single_changed_concept_in_each_pair_identifies():
    assert support_report(torch.eye(4).repeat(20, 1)).verdict == "identifiable"


def test_few_pairs_are_weak_evidence():
    found = support_report(torch.eye(3).repeat(4, 1))
    assert found.verdict == "weakly identifiable" and "fewer than 10 pairs" in found.reasons[0]
    assert support_report(torch.eye(3).repeat(4, 1), least_pairs=4).verdict == "identifiable"


def test_a_concept_that_never_changes_is_named_and_costs_nothing():
    support_PC = torch.cat([torch.eye(3).repeat(20, 1), torch.zeros(60, 1)], dim=1)
    found = support_report(support_PC)
    assert found.verdict == "identifiable" and found.absent == ("concept 3",)


def test_a_concept_that_always_changes_is_never_left_out():
    support_PC = torch.cat([torch.eye(3).repeat(20, 1), torch.ones(60, 1)], dim=1)
    found = support_report(support_PC)
    assert found.verdict == "not identifiable" and found.always == ("concept 3",)
    assert found.reasons[0] == "concept 0 never changes without concept 3"


@pytest.mark.parametrize("unknown", [torch.nan, -1.0])
def test_what_only_unknown_entries_could_show_stays_open(unknown):
    support_PC = torch.eye(2).repeat(20, 1)
    support_PC[:, 0] = 1
    assert support_report(support_PC).verdict == "not identifiable"
    support_PC[3, 0] = unknown
    found = support_report(support_PC)
    assert found.verdict == "unknown" and found.blocks == ()
    assert found.reasons == ("concept 1 may never change without concept 0",)


def test_blocks_are_chained():
    lost_CC = torch.zeros(5, 5, dtype=torch.bool)
    lost_CC[3, 1] = lost_CC[1, 4] = True
    assert joined(lost_CC) == [[0], [1, 3, 4], [2]]


@pytest.mark.parametrize(
    ("support", "names", "line"),
    [
        (torch.zeros(4), (), r"shape \(4,\), expected \[P, C\]"),
        (torch.zeros(0, 3), (), "expected"),
        (torch.zeros(4, 2), ("a",), "1 names for 2 concepts"),
        (torch.zeros(4, 2), ("a", "a"), "all different"),
    ],
)
def test_impossible_supports_are_refused(support, names, line):
    with pytest.raises((ConfigError, TypeError), match=line if support.ndim == 2 else "support_PC"):
        support_report(support, names=names)
