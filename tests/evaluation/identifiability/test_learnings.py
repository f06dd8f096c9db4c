"""Controls: what they keep of the data, and what they take away."""

import dataclasses

import pytest
import torch
from dictionaries.shifts.sparse_shifts import sparse_shifts

from bathyscope.dictionaries.shifts.ascent import AscentSettings
from bathyscope.dictionaries.shifts.learn import learn_shifts
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.errors import ConfigError
from bathyscope.evaluation.identifiability.learnings import again, examine, normal_twin, random_encoder, without_some
from bathyscope.evaluation.identifiability.matching import match_concepts
from bathyscope.evaluation.identifiability.settings import IdentifiabilitySettings
from bathyscope.evaluation.identifiability.significance import spread_ratio

SHIFTS_PD, CHANGES_PC, DIRECTIONS_CD = sparse_shifts()
QUICK = ShiftSettings(n_features=5, n_restarts=1, beta=0.7, ascent=AscentSettings(n_steps=30))
SETTINGS = IdentifiabilitySettings(shifts=QUICK, n_draws=200)


@pytest.mark.parametrize("n_pairs", [2000, 6])
def test_the_twin_keeps_mean_and_covariance(n_pairs):
    shifts_PD = SHIFTS_PD[:n_pairs] + 2
    twin_PD = torch.cat([normal_twin(shifts_PD, seed=seed) for seed in range(4000 // n_pairs)])
    scale = float(shifts_PD.square().mean())
    torch.testing.assert_close(twin_PD.mean(0), shifts_PD.mean(0), atol=0.1 * scale**0.5, rtol=0)
    covariance = torch.cov(shifts_PD.T, correction=0)
    torch.testing.assert_close(torch.cov(twin_PD.T, correction=0), covariance, atol=0.12 * scale, rtol=0)


def test_the_twin_loses_the_sparse_codes():
    readers_DC = torch.linalg.pinv(DIRECTIONS_CD)
    assert float(spread_ratio(SHIFTS_PD @ readers_DC).max()) < 0.6
    assert float(spread_ratio(normal_twin(SHIFTS_PD, seed=0) @ readers_DC).min()) > 0.75


def test_random_encoders_span_the_same_and_find_nothing():
    whole = learn_shifts(SHIFTS_PD, QUICK)
    codes_PC = random_encoder(whole, SHIFTS_PD, seed=0)
    torch.testing.assert_close(torch.cov(codes_PC.T), torch.eye(5), atol=0.02, rtol=0)
    assert match_concepts(codes_PC, CHANGES_PC).mcc < 0.9 < match_concepts(whole.pre(SHIFTS_PD), CHANGES_PC).mcc
    assert not torch.equal(codes_PC, random_encoder(whole, SHIFTS_PD, seed=1))


def test_further_learnings_keep_the_bound_and_change_the_seed():
    whole = learn_shifts(SHIFTS_PD, dataclasses.replace(QUICK, beta=0.65))
    found = again(whole, SETTINGS, number=3)
    assert found.beta == 0.65 and found.seed != QUICK.seed and found.n_restarts == SETTINGS.n_restarts_again


def test_halves_share_no_pair_and_fewer_pairs_are_what_was_asked():
    found = examine(SHIFTS_PD, SETTINGS)
    assert found.half_a.training["pairs"] + found.half_b.training["pairs"] == len(SHIFTS_PD)
    thinned = list(without_some(SHIFTS_PD, found.whole, SETTINGS))
    assert [each.training["pairs"] for each in thinned] == [1800, 1800]
    assert thinned[0].digest != thinned[1].digest


def test_too_few_pairs_for_halves_are_refused():
    with pytest.raises(ConfigError, match="9 pairs are fewer than twice the 5 columns"):
        examine(SHIFTS_PD[:9], SETTINGS)
