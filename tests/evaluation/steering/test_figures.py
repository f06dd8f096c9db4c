"""Figures of steering: chosen on one half of the instructions and reported on the other, with honest intervals."""

from dataclasses import dataclass

import numpy as np
import pytest
from evaluation.steering.made_up import PANEL, rated

from bathyscope.evaluation.steering.figures import (
    calibration_scores,
    chosen_factors,
    dose_scores,
    method_scores,
    ratio,
    reported,
)
from bathyscope.evaluation.steering.judges.judge import Aspect, Known
from bathyscope.evaluation.steering.ratings import harmonic, panels


def test_the_score_is_the_harmonic_mean_and_nothing_where_one_rating_is_nothing():
    assert harmonic(rated({"concept": 2, "instruction": 1, "fluency": 2}), PANEL) == pytest.approx(3 / (0.5 + 1 + 0.5))
    assert harmonic(rated({"concept": 0, "instruction": 2, "fluency": 2}), PANEL) == 0
    assert harmonic(rated({"concept": None, "instruction": 2, "fluency": 2}), PANEL) is None
    assert harmonic(rated(2), PANEL) == 2


def test_the_strength_is_chosen_on_the_instructions_that_do_not_report():
    rows = [
        rated(2 if (factor == 1.0) == (i % 2 == 0) else 0, factor=factor, instruction=i)
        for factor in (1.0, 3.0)
        for i in range(4)
    ]
    chosen = chosen_factors(rows, PANEL)
    assert chosen == {("sea", "way", 1): 1.0, ("sea", "way", 0): 3.0}
    assert [row.figures["score"] for row in reported(rows, PANEL)] == [0.0] * 4, "what is best on one half fails here"


def test_choosing_among_many_strengths_of_pure_noise_gains_nothing():
    generator = np.random.default_rng(0)
    rows = [
        rated(int(generator.integers(0, 3)), factor=float(factor), instruction=i, concept=f"concept {c}")
        for c in range(40)
        for factor in range(1, 15)
        for i in range(10)
    ]
    mean = float(np.mean([harmonic(row, PANEL) for row in rows]))
    (score, *_) = method_scores(reported(rows, PANEL), judged_by="oracle", seed=0)
    assert score.value == pytest.approx(mean, abs=0.12)
    assert score.low < mean < score.high


def test_ties_go_to_the_smallest_strength():
    rows = [rated(1, factor=factor, instruction=i) for factor in (2.0, 0.5, 4.0) for i in range(2)]
    assert set(chosen_factors(rows, PANEL).values()) == {0.5}


def test_an_answer_without_a_rating_takes_no_part():
    rows = [rated(None, factor=1.0, instruction=i) for i in range(4)] + [
        rated(1, factor=2.0, instruction=i) for i in range(4)
    ]
    assert {row.factor for row in reported(rows, PANEL)} == {2.0}


def test_ratios_compare_means_over_the_same_concepts():
    rows = [
        rated(rating, method=method, concept=f"concept {c}", instruction=i)
        for method, rating in (("best", 2), ("other", 1))
        for c in range(5)
        for i in range(4)
    ]
    found = ratio(reported(rows, PANEL), "best", ("other",), seed=0)
    assert (found.value, found.low, found.high) == (2.0, 2.0, 2.0)
    nothing = [rated(0, method="other", concept=f"concept {c}", instruction=i) for c in range(5) for i in range(4)]
    assert ratio(reported([*rows[:20], *nothing], PANEL), "best", ("other",), seed=0).value == float("inf")


def test_curves_have_every_strength():
    rows = [rated(int(factor), factor=factor, instruction=i) for factor in (1.0, 2.0) for i in range(3)]
    found = {row.metric: row.value for row in dose_scores(rows, PANEL, seed=0)}
    assert found["score of sea at 1"] == 1 and found["concept of sea at 2"] == 2


def test_a_judge_is_measured_where_the_answer_is_known():
    known = [
        Known(is_true=True, rating=2, group="a"),
        Known(is_true=True, rating=0, group="b"),
        Known(is_true=False, rating=0, group="c"),
        Known(is_true=False, rating=None, group="d"),
    ]
    found = {row.metric: row.value for row in calibration_scores("words", "concept", known, seed=0)}
    assert found == {
        "sensitivity": 0.5,
        "rated 2 of what is true": 0.5,
        "specificity": 1.0,
        "share without an answer": 0.25,
    }


def test_a_panel_takes_the_judges_of_one_name_where_there_are_such():
    @dataclass
    class Named:
        aspect: Aspect
        name: str

        def rate(self, answers):
            return [None for _ in answers]

        def calibration(self):
            return []

    judges = [
        Named("concept", "words"),
        Named("instruction", "likelihood"),
        Named("fluency", "likelihood"),
        Named("concept", "asked"),
        Named("instruction", "asked"),
    ]
    assert panels(judges) == [
        {"concept": "words", "instruction": "likelihood", "fluency": "likelihood"},
        {"concept": "asked", "instruction": "asked", "fluency": "likelihood"},
    ]
