"""The path of bounds: which bound is next, where it begins, what is chosen – by figures alone."""

import dataclasses
import math

import pytest
import torch
from dictionaries.shifts.sparse_shifts import mcc, sparse_shifts

from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.columns import measure
from bathyscope.dictionaries.shifts.frame import frame_of
from bathyscope.dictionaries.shifts.path import (
    PathRow,
    at_bound,
    begin,
    choose,
    next_beta,
    problem_of,
    warm_start,
)
from bathyscope.dictionaries.shifts.settings import ShiftSettings

SETTINGS = ShiftSettings(n_features=5, n_restarts=2, n_refined=2, ascent=AscentSettings(n_steps=60))


def row(beta, *, full=(0.5, 0.6), is_kept=True, agreement=0.9, explained=(1.0, 1.0)):
    n = len(full)
    return PathRow(
        beta=beta, explained=explained, l1=full, price=(0.0,) * n, l1_full=full, agreement=agreement, is_kept=is_kept
    )


def test_the_path_comes_down_until_reconstruction_is_lost_and_then_looks_at_the_knee():
    rows = []
    assert next_beta(rows, SETTINGS) == 1.0 and warm_start(rows) is None
    rows.append(row(1.0))
    assert next_beta(rows, SETTINGS) == pytest.approx(0.8) and warm_start(rows) == 0
    rows.append(row(0.8, full=(0.45, 0.5)))
    rows.append(row(0.64, is_kept=False, full=(0.7, 0.8)))
    assert next_beta(rows, SETTINGS) == 0.45 and warm_start(rows) == 1
    rows.append(row(0.45, full=(0.44, 0.43)))
    assert next_beta(rows, SETTINGS) == 0.43 and warm_start(rows) == 3
    assert next_beta([*rows, row(0.43, full=(0.44, 0.44))], SETTINGS) is None, "it was lowered no further"
    assert next_beta([*rows, row(0.43, full=(0.41, 0.44))], SETTINGS) is None, "as many as asked for"
    more = dataclasses.replace(SETTINGS, n_refined=3)
    assert next_beta([*rows, row(0.43, full=(0.41, 0.44))], more) == 0.41


def test_a_given_bound_is_the_only_one():
    given = ShiftSettings(n_features=5, beta=0.3)
    assert next_beta([], given) == 0.3 and next_beta([row(0.3, is_kept=False)], given) is None


def test_a_path_that_is_lost_from_the_start_ends():
    assert next_beta([row(1.0, is_kept=False, full=(math.inf, math.inf))], SETTINGS) is None


def test_the_choice_is_agreement_first_and_then_the_lowest_l1_at_full_reconstruction():
    rows = [
        row(1.0, agreement=0.7, full=(0.1, 0.2)),
        row(0.8, agreement=0.998, full=(0.5, 0.6)),
        row(0.6, agreement=0.999, full=(0.6, 0.55)),
        row(0.5, agreement=1.0, full=(0.3, 0.3), is_kept=False),
    ]
    assert choose(rows, SETTINGS) == (1, 0)
    assert choose([rows[0], row(0.8, agreement=0.99, full=(0.6, 0.55))], SETTINGS) == (1, 1)
    assert choose([row(1.0, agreement=math.nan, full=(0.4,), explained=(1.0,))], SETTINGS) == (0, 0)
    lost = [row(1.0, is_kept=False, explained=(0.5, 0.7)), row(0.8, is_kept=False, explained=(0.4, 0.3))]
    assert choose(lost, SETTINGS) == (0, 1)


@pytest.fixture(scope="module")
def problem():
    shifts_PD, _, _ = sparse_shifts()
    return problem_of(shifts_PD, frame_of(shifts_PD, n_columns=5, metric="whitened"), SETTINGS)


def test_the_unit_of_beta_is_the_l1_of_normal_codes_where_nothing_is_sparse():
    normal_PD = torch.randn(4000, 5, generator=torch.Generator().manual_seed(0))
    found = problem_of(normal_PD, frame_of(normal_PD, n_columns=5, metric="whitened"), SETTINGS)
    assert found.l1_free == pytest.approx(5 * (2 / math.pi) ** 0.5, rel=0.02)


def test_a_bound_with_slack_moves_nothing(problem):
    first = begin(problem)
    found, columns = at_bound(problem, first, 2.0, number=0)
    assert torch.equal(columns.E_RMC, first.E_RMC)
    assert found.is_kept and found.price == (0, 0) and found.l1 == pytest.approx(found.l1_full, rel=1e-3)


def test_a_bound_far_below_the_truth_loses_reconstruction(problem):
    found, columns = at_bound(problem, begin(problem), 0.15, number=0)
    assert not found.is_kept and max(found.explained) < problem.wanted and min(found.price) > 0
    figures = measure(columns, problem.y_PM, problem.frame)
    assert found.explained == pytest.approx(figures.explained_R.tolist())


def test_the_whole_path_ends_at_the_concepts_without_being_told_their_l1(problem):
    _, changes_PC, _ = sparse_shifts()
    rows, behind = [], []
    while (beta := next_beta(rows, SETTINGS)) is not None:
        number = warm_start(rows)
        found, columns = at_bound(problem, begin(problem) if number is None else behind[number], beta, number=len(rows))
        rows.append(found)
        behind.append(columns)
    number, restart = choose(rows, SETTINGS)
    assert mcc(problem.y_PM @ behind[number].E_RMC[restart], changes_PC) > 0.99
    assert rows[number].is_kept and any(not each.is_kept for each in rows)
