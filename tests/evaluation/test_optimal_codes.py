"""Optimal codes on a world whose directions are known."""

import numpy as np
import pytest
import torch
from dictionaries.planted import world

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ConfigError
from bathyscope.evaluation.optimal_codes import OptimalCodesSettings, optimal_codes
from bathyscope.evaluation.scores import Score

PLANTED = world(d_model=64, n_tokens=600)
DOCUMENTS_N = np.arange(600) // 30
WAYS = ("encoder", "matching pursuit", "orthogonal pursuit", "FISTA", "FISTA, refitted")


def true_dictionary() -> Dictionary:
    """True directions with a tied encoder: selection by one look, amounts off where features overlap."""
    rows_FD = PLANTED.truth_GD
    weights = Weights(
        W_enc=0.8 * rows_FD.T.contiguous(), b_enc=torch.zeros(64), W_dec=rows_FD, b_dec=PLANTED.x_ND.median(0).values
    )
    return Dictionary(weights=weights, rule=Largest(k=3), subtract_b_dec=True)


@pytest.fixture(scope="module")
def table() -> dict[tuple[str, str], Score]:
    rows = optimal_codes(true_dictionary(), PLANTED.x_ND, documents_N=DOCUMENTS_N)
    return {(row.subject, row.metric): row for row in rows}


def test_every_way_is_scored_on_the_decoder_and_on_a_random_one(table):
    subjects = {prefix + way for prefix in ("", "random dictionary, ") for way in WAYS}
    assert set(table) == {(subject, metric) for subject in subjects for metric in ("variance explained", "L0")}


def test_solvers_explain_more_than_the_encoder_and_fitting_explains_more_than_greed(table):
    explained = {way: table[way, "variance explained"].value for way in WAYS}
    assert explained["encoder"] < explained["matching pursuit"] <= explained["orthogonal pursuit"]
    assert explained["FISTA"] < explained["FISTA, refitted"], "the penalty shrinks every code"


def test_the_numbers_of_active_features_are_about_equal(table):
    for subject in WAYS:
        assert table[subject, "L0"].value == pytest.approx(3, rel=0.12), subject


def test_true_directions_explain_more_than_random_ones(table):
    for way in WAYS:
        true, null = table[way, "variance explained"], table[f"random dictionary, {way}", "variance explained"]
        assert true.value > null.value, way
    assert table["orthogonal pursuit", "variance explained"].low > (
        table["random dictionary, orthogonal pursuit", "variance explained"].high
    )


def test_a_score_is_that_of_a_hand_computation(table):
    x_ND, dictionary = PLANTED.x_ND, true_dictionary()
    error = (x_ND - dictionary.reconstruct(x_ND)).double().square().sum()
    wanted = 1 - error / (x_ND - x_ND.mean(0)).double().square().sum()
    row = table["encoder", "variance explained"]
    assert row.value == pytest.approx(float(wanted), abs=1e-6)
    assert (row.n, row.unit) == (20, "documents") and row.low < row.value < row.high


def test_without_documents_nothing_is_said_of_the_spread():
    rows = optimal_codes(true_dictionary(), PLANTED.x_ND[:100], settings=OptimalCodesSettings(k=2, n_steps=20))
    assert {row.low for row in rows} == {-np.inf}
    l0 = {row.subject: row.value for row in rows if row.metric == "L0"}
    assert l0["matching pursuit"] <= 2 < l0["encoder"]


def test_documents_of_other_tokens_and_impossible_settings_are_refused():
    with pytest.raises(ConfigError, match="600 document numbers were given for 10 activations"):
        optimal_codes(true_dictionary(), PLANTED.x_ND[:10], documents_N=DOCUMENTS_N)
    with pytest.raises(ConfigError, match="k is 0"):
        OptimalCodesSettings(k=0)
