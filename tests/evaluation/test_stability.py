"""Seed stability: planted agreement is measured, nulls are not zero, unequal sizes, the sparse assignment."""

import dataclasses

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from bathyscope import artifacts
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import LargestAbsolute, Linear, Positive
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.assignment import matched_cosines, nearest_cosines
from bathyscope.evaluation.stability import RANDOM, SHAPED, StabilitySettings, stability, stability_table


def directions(n: int, d: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


def dictionary(rows_FD: torch.Tensor, **changes) -> Dictionary:
    f, d = rows_FD.shape
    weights = Weights(W_enc=rows_FD.T.contiguous(), b_enc=torch.zeros(f), W_dec=rows_FD, b_dec=torch.zeros(d))
    return dataclasses.replace(Dictionary(weights=weights, rule=Positive(), subtract_b_dec=False), **changes)


def figures(a: Dictionary, b: Dictionary, **given) -> dict[tuple[str, str], float]:
    return {(row.subject, row.metric): row.value for row in stability(a, b, **given)}


def test_the_same_features_in_another_order_agree_wholly():
    rows = directions(50, 16, 0)
    found = figures(dictionary(rows), dictionary(rows[torch.randperm(50)]))
    for metric in ("mean max cosine", "matched cosine", "share matched above 0.9"):
        assert found["pair", metric] == pytest.approx(1, abs=1e-6)


def test_the_share_of_planted_common_features_is_found():
    common, own_a, own_b = directions(30, 64, 0), directions(20, 64, 1), directions(20, 64, 2)
    found = figures(dictionary(torch.cat([common, own_a])), dictionary(torch.cat([own_b, common])))
    assert found["pair", "share matched above 0.9"] == pytest.approx(30 / 50)
    assert found["pair", "mean max cosine"] >= found["pair", "matched cosine"]


def test_the_nulls_are_not_zero_and_unrelated_dictionaries_do_not_beat_them():
    """MCC of random directions is far from 0, so a figure alone says nothing."""
    found = figures(dictionary(directions(200, 16, 0)), dictionary(directions(200, 16, 1)))
    assert found[f"pair, {RANDOM}", "mean max cosine"] > 0.5
    assert found[f"pair, {RANDOM}", "matched cosine"] > 0.4
    assert abs(found["pair", "matched cosine"] - found[f"pair, {RANDOM}", "matched cosine"]) < 0.03
    assert abs(found["pair", "mean max cosine"] - found[f"pair, {RANDOM}", "mean max cosine"]) < 0.03


def test_directions_that_crowd_are_told_from_shared_features_by_the_second_null():
    """Unrelated features that crowd in 4 of 32 dimensions beat isotropic directions, not those of their own shape."""
    spread = torch.cat([torch.full((4,), 3.0), torch.full((28,), 0.3)])
    crowded = [torch.nn.functional.normalize(directions(150, 32, seed) * spread, dim=1) for seed in (0, 1)]
    found = figures(dictionary(crowded[0]), dictionary(crowded[1]))
    assert found["pair", "mean max cosine"] > found[f"pair, {RANDOM}", "mean max cosine"] + 0.2
    over_random, over_shaped = (
        found["pair", "mean max cosine"] - found[f"pair, {null}", "mean max cosine"] for null in (RANDOM, SHAPED)
    )
    assert abs(over_shaped) < over_random / 4


def test_unequal_sizes_are_matched_over_the_smaller():
    rows = directions(40, 24, 0)
    found = figures(dictionary(rows), dictionary(rows[:10]))
    assert found["pair", "matched cosine"] == pytest.approx(1, abs=1e-6)
    assert found["pair", "share matched above 0.9"] == pytest.approx(10 / 40)
    found = figures(dictionary(rows[:10]), dictionary(rows))
    assert found["pair", "share matched above 0.9"] == pytest.approx(1)


def test_no_feature_is_matched_twice():
    rows = directions(12, 8, 0)
    copies = torch.cat([rows[:1]] * 12)
    found = figures(dictionary(copies), dictionary(rows))
    assert found["pair", "mean max cosine"] == pytest.approx(1, abs=1e-6)
    assert found["pair", "matched cosine"] < 0.5


@pytest.mark.parametrize("rule", [LargestAbsolute(k=2), Linear()])
def test_opposite_features_are_the_same_only_where_codes_are_signed(rule):
    rows = directions(20, 64, 0)
    assert figures(dictionary(rows), dictionary(-rows))["pair", "matched cosine"] < 0.4
    signed = [dictionary(sign * rows, rule=rule) for sign in (1, -1)]
    assert figures(*signed)["pair", "matched cosine"] == pytest.approx(1, abs=1e-6)


def test_frequent_features_weigh_more_when_firing_is_counted():
    a, b = torch.eye(20)[:10], torch.cat([torch.eye(20)[:2], torch.eye(20)[12:20]])
    x_ND = torch.zeros(100, 20)
    x_ND[:, 0] = 1  # the shared feature 0 fires always, feature 5, which only a has, in a tenth of the tokens
    x_ND[:10, 5] = 1
    found = figures(dictionary(a), dictionary(b), x_ND=x_ND)
    assert found["pair", "share matched above 0.9"] == pytest.approx(0.2)
    assert found["pair", "share matched above 0.9, by firing"] == pytest.approx(100 / 110)
    with pytest.raises(ConfigError, match="no feature of the first dictionary fires"):
        stability(dictionary(a), dictionary(b), x_ND=torch.zeros(3, 20))


@pytest.mark.parametrize("is_signed", [False, True])
@pytest.mark.parametrize(("f", "g"), [(30, 30), (20, 45), (45, 20)])
def test_exact_assignment_equals_scipy_on_the_whole_matrix(f, g, is_signed):
    a, b = directions(f, 12, 0), directions(g, 12, 1)
    cosines = (a @ b.T).abs().numpy() if is_signed else (a @ b.T).numpy()
    rows, columns = linear_sum_assignment(cosines, maximize=True)
    found = matched_cosines(a, b, is_signed=is_signed, exact_pairs=10**6, n_nearest=1)
    assert found.is_exact
    assert found.cosine_F.sum() == pytest.approx(cosines[rows, columns].sum(), abs=1e-5)
    np.testing.assert_allclose(nearest_cosines(a, b, is_signed=is_signed), cosines.max(1), atol=1e-6)


@pytest.mark.parametrize(("f", "g"), [(60, 60), (40, 90), (90, 40)])
def test_assignment_among_the_nearest_is_a_lower_bound_and_exact_where_all_are_offered(f, g):
    a = directions(f, 32, 0)
    b = torch.cat(
        [torch.nn.functional.normalize(a[: g // 2] + 0.1 * directions(g // 2, 32, 5)[:f], dim=1), directions(g, 32, 1)]
    )[:g]
    given = {"is_signed": False, "exact_pairs": 0}
    exact = matched_cosines(a, b, is_signed=False, exact_pairs=10**6, n_nearest=1).cosine_F
    few = matched_cosines(a, b, **given, n_nearest=4)
    assert not few.is_exact
    assert few.cosine_F.sum() <= exact.sum() + 1e-5
    assert ((few.cosine_F > 0.7).sum()) == ((exact > 0.7).sum()), "good matches are among the nearest"
    whole = matched_cosines(a, b, **given, n_nearest=100).cosine_F
    assert whole.sum() == pytest.approx(np.clip(exact, 0, None).sum(), abs=0.1)
    assert whole.sum() >= exact.sum() - 1e-5


def test_a_lower_bound_is_called_one():
    rows = directions(20, 8, 0)
    found = figures(dictionary(rows), dictionary(rows), settings=StabilitySettings(exact_pairs=100))
    assert found["pair", "matched cosine (lower bound)"] == pytest.approx(1, abs=1e-6)
    assert ("pair", "matched cosine") not in found


def test_every_pair_stands_in_the_table(tmp_path):
    dictionaries = {str(seed): dictionary(directions(30, 12, seed)) for seed in range(3)}
    rows = stability_table(dictionaries, out=tmp_path / "scores")
    assert {row.subject for row in rows if ", " not in row.subject} == {"0 ~ 1", "0 ~ 2", "1 ~ 2"}
    for row in rows:
        assert row.low <= row.value <= row.high and row.unit == "features"
    assert stability_table(dictionaries, out=tmp_path / "scores") == rows
    assert set(artifacts.read_manifest(tmp_path / "scores").config["dictionaries"]) == {"0", "1", "2"}


def test_dictionaries_of_different_width_or_a_single_one_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="width 12 and 8"):
        stability(dictionary(directions(5, 12, 0)), dictionary(directions(5, 8, 0)))
    with pytest.raises(ConfigError, match="expected at least two"):
        stability_table({"a": dictionary(directions(5, 8, 0))}, out=tmp_path / "s")
