"""The report: one page whose verdicts are right in worlds that are known, and a folder."""

import dataclasses

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.artifacts import verify
from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.report import FREE, OURS, RANDOM, TWIN, blocks_of, identifiability
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings, KnownConcepts
from bathyscope.evaluation.identifiability.supports import support_report
from bathyscope.evaluation.scores import read_scores

SHIFTS_PD, CHANGES_PC, _ = sparse_shifts()
QUICK = IdentifiabilitySettings(
    shifts=ShiftSettings(n_features=5, n_restarts=1, beta=0.65, ascent=AscentSettings(n_steps=40)),
    n_draws=300,
    n_restarts_again=1,
    n_removals=1,
    free_steps=400,
    n_random=3,
)
NAMES = ("tense", "number", "tone", "language", "topic")


@pytest.fixture(scope="module")
def report():
    return identifiability(SHIFTS_PD, known=KnownConcepts(names=NAMES, changes_PC=CHANGES_PC), settings=QUICK)


def test_a_world_that_can_be_identified_is_and_its_controls_are_not(report):
    value = {(row.subject, row.metric): row.value for row in report.scores}
    assert report.supports.verdict == "identifiable" and report.n_real == 5
    assert value[OURS, "mcc"] > 0.98
    assert max(value[FREE, "mcc"], value[RANDOM, "mcc"]) < 0.9
    assert value[FREE, "mean square explained"] > 0.99
    assert value[TWIN, "share of real columns"] == 0
    assert value[OURS, "agreement of halves"] > 0.97 > value[TWIN, "agreement of halves"]
    assert value[OURS, "cosine after removing 10% of pairs"] > 0.97


def test_the_page_names_verdict_columns_and_concepts(report):
    assert "**Before training:** the supports tell every concept from every other." in report.page
    assert "**After training:** 5 of 5 columns are real" in report.page
    rows = [line for line in report.page.splitlines() if line.startswith(("| 0 |", "| 4 |"))]
    assert len(rows) == 2 and all("| yes |" in row for row in rows)
    assert all(name in report.page for name in NAMES)


def test_intervals_hold_their_figures(report):
    for row in report.scores:
        assert row.low <= row.value + 1e-9 and row.value <= row.high + 1e-9, row


def test_dense_supports_are_flagged_before_training_and_no_column_is_real():
    dense_PC = torch.randn(2000, 5, generator=torch.Generator().manual_seed(3))
    shifts_PD = dense_PC @ torch.randn(5, 8, generator=torch.Generator().manual_seed(4))
    settings = dataclasses.replace(QUICK, controls=False, n_removals=0)
    found = identifiability(shifts_PD, known=KnownConcepts(changes_PC=dense_PC), settings=settings)
    assert found.supports.verdict == "not identifiable" and found.n_real == 0
    assert "**not identifiable**" in found.page and "dense supports identify nothing" in found.page
    assert {(row.subject, row.metric) for row in found.scores} >= {(OURS, "mcc"), (RANDOM, "mcc")}


def test_without_labels_the_report_says_what_it_does_not_know():
    settings = dataclasses.replace(QUICK, controls=False, n_removals=0)
    found = identifiability(SHIFTS_PD, settings=settings)
    assert found.supports is None and found.matching is None
    assert "no support is known" in found.page and "| concept |" not in found.page


def test_a_folder_holds_the_page_and_the_scores(tmp_path):
    settings = dataclasses.replace(QUICK, controls=False, n_removals=0)
    shifts_PD = SHIFTS_PD.clone()
    shifts_PD[7] = 0
    found = identifiability(
        shifts_PD, known=KnownConcepts(changes_PC=CHANGES_PC), settings=settings, out=tmp_path / "r"
    )
    verify(tmp_path / "r")
    assert (tmp_path / "r" / "report.md").read_text() == found.page
    assert len(read_scores(tmp_path / "r")) == len(found.scores)
    assert "1 of 2000 pairs have equal sides" in found.page
    again = identifiability(
        shifts_PD, known=KnownConcepts(changes_PC=CHANGES_PC), settings=settings, out=tmp_path / "r"
    )
    assert again.page == found.page


def test_blocks_come_from_the_supports():
    support_PC = torch.eye(4).repeat(20, 1)
    support_PC[:, 3] = support_PC[:, 1]
    assert blocks_of(support_report(support_PC), 4) == [[1, 3], [0], [2]]
    assert blocks_of(None, 2) == [[0], [1]]


def test_knowledge_of_other_pairs_is_refused():
    with pytest.raises(ConfigError, match="9 rows are known of 2000 pairs"):
        identifiability(SHIFTS_PD, known=KnownConcepts(support_PC=torch.zeros(9, 5)), settings=QUICK)
