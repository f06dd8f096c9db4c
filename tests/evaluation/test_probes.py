"""Probes against scikit-learn and against truths known by construction."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score as reference_f1
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from bathyscope.evaluation.probes import (
    auroc,
    best_penalty,
    best_threshold,
    dense_probe,
    difference_of_means,
    f1,
    f1_score,
    largest_difference,
    mean_over_groups,
    right_answers,
    sparse_probe,
    weighted_auroc,
    word_scores,
)


@pytest.fixture
def data():
    """Columns 3 and 7 carry the label, column 5 is constant."""
    generator = np.random.default_rng(0)
    labels_T = np.arange(400) % 2 == 0
    x_TD = generator.normal(size=(400, 12)).astype(np.float32)
    x_TD[:, 3] += 3 * labels_T
    x_TD[:, 7] -= 1.5 * labels_T
    x_TD[:, 5] = 2.0
    return x_TD, labels_T


def test_the_columns_with_the_largest_class_difference_are_chosen_whatever_its_sign(data):
    x_TD, labels_T = data
    assert largest_difference(x_TD, labels_T, k=2).tolist() == [3, 7]


def test_a_sparse_probe_is_logistic_regression_on_the_chosen_columns_alone(data):
    x_TD, labels_T = data
    fitted = sparse_probe(x_TD, labels_T, k=2)
    reference = LogisticRegression().fit(StandardScaler().fit_transform(x_TD[:, [3, 7]]), labels_T)
    expected_T = reference.decision_function(StandardScaler().fit_transform(x_TD[:, [3, 7]]))
    np.testing.assert_allclose(fitted.scores(x_TD), expected_T, atol=1e-3)
    changed_TD = x_TD.copy()
    changed_TD[:, [0, 1, 2, 4, 5, 6]] = 99
    np.testing.assert_array_equal(fitted.scores(changed_TD), fitted.scores(x_TD))


def test_a_constant_column_gets_no_weight_and_no_nan(data):
    x_TD, labels_T = data
    fitted = dense_probe(x_TD, labels_T, penalty=1.0)
    assert fitted.weights[5] == 0 and np.isfinite(fitted.scores(x_TD)).all()


def test_the_difference_of_means_is_zero_half_way():
    x_TD = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 5.0], [6.0, 5.0]], np.float32)
    fitted = difference_of_means(x_TD, np.array([False, False, True, True]))
    np.testing.assert_allclose(fitted.weights, [4, 4])
    assert fitted.scores(np.array([[3.0, 3.0]]))[0] == 0


def test_strong_shrinkage_is_chosen_where_only_noise_separates_and_never_from_left_out_groups():
    generator = np.random.default_rng(1)
    labels_T = np.arange(80) % 2 == 0
    noise_TD = generator.normal(size=(80, 200))
    noise_TD[:, 0] += labels_T * 0.8
    assert best_penalty(noise_TD, labels_T, np.arange(80)) < 1
    copies_TD = np.repeat(generator.normal(size=(20, 200)), 4, axis=0)  # each group is one text four times
    copied_T = np.repeat(generator.random(20) < 0.5, 4)
    by_row = best_penalty(copies_TD, copied_T, np.arange(80))
    assert best_penalty(copies_TD, copied_T, np.repeat(np.arange(20), 4)) <= by_row


def test_auroc_equals_scikit_learn_with_ties_and_weights():
    generator = np.random.default_rng(2)
    scores_T = generator.integers(0, 6, 60).astype(float)
    labels_T = generator.random(60) < 0.4
    weights_RT = np.stack([np.ones(60), generator.integers(0, 3, 60)]).astype(float)
    expected = [roc_auc_score(labels_T, scores_T, sample_weight=weights_T) for weights_T in weights_RT]
    np.testing.assert_allclose(weighted_auroc(scores_T, labels_T, weights_RT), expected)
    assert np.isnan(weighted_auroc(scores_T, labels_T, labels_T[None].astype(float))[0])


def test_intervals_are_over_groups_and_cover_the_truth():
    covered, widths = 0, []
    for seed in range(60):
        generator = np.random.default_rng(seed)
        groups_T = np.repeat(np.arange(25), 8)
        labels_T = np.arange(200) % 2 == 0
        scores_T = 1.0 * labels_T + generator.normal(size=200)  # AUROC Φ(1/√2) = .760
        found = auroc(scores_T, labels_T, groups_T, seed=0, n_resamples=300)
        covered += found.low <= 0.7602 <= found.high
        widths.append(found.high - found.low)
    assert 50 <= covered <= 60 and 0.05 < np.mean(widths) < 0.25
    assert found.n == 25


def test_a_group_of_copies_counts_as_one_unit():
    right_T = np.tile([1.0, 0.0], 20)
    alone = mean_over_groups(right_T, np.arange(40), seed=0)
    copies = mean_over_groups(np.repeat(right_T[:10], 4), np.repeat(np.arange(10), 4), seed=0)
    assert copies.high - copies.low > 1.5 * (alone.high - alone.low)


def test_a_score_of_exactly_zero_is_half_right():
    right = right_answers(np.array([0.0, 0.0, 2.0, -1.0]), np.array([True, False, True, True]))
    assert right.tolist() == [0.5, 0.5, 1.0, 0.0]


def test_words_are_learnt_from_the_training_half_alone():
    labels_T = np.arange(80) % 2 == 0
    is_train_T = np.arange(80) < 40
    texts = [("wave " if label else "hill ") + ("left" if i < 40 else "right") for i, label in enumerate(labels_T)]
    found_T = word_scores(texts, labels_T, np.arange(80), is_train_T)
    assert ((found_T > 0) == labels_T).all()
    report_only = [text if train else f"new{i}" for i, (text, train) in enumerate(zip(texts, is_train_T, strict=True))]
    found_T = word_scores(report_only, labels_T, np.arange(80), is_train_T)
    assert len(set(found_T[~is_train_T].round(9))) == 1, "unseen words say nothing"


def test_a_threshold_needs_scores_that_differ_the_right_way():
    labels_T = np.array([True, True, False, False])
    assert best_threshold(np.array([3.0, 2.0, 1.0, 0.0]), labels_T) == 1.5
    assert best_threshold(np.array([0.0, 1.0, 2.0, 3.0]), labels_T) is None
    assert best_threshold(np.zeros(4), labels_T) is None
    assert best_threshold(np.arange(4.0), np.ones(4, dtype=bool)) is None


def test_no_other_threshold_tells_better_and_none_as_good_is_higher():
    generator = np.random.default_rng(0)
    for n in (8, 9, 30):
        scores_T, labels_T = generator.integers(0, 6, n).astype(float), generator.random(n) < 0.6

        def gain(threshold, scores_T=scores_T, labels_T=labels_T):
            above_T = scores_T > threshold
            return above_T[labels_T].mean() - above_T[~labels_T].mean()

        found = best_threshold(scores_T, labels_T)
        others = np.arange(0.5, 5.5)
        if found is None:
            assert max(map(gain, others)) <= 0
        else:
            assert gain(found) == pytest.approx(max(map(gain, others)))
            assert all(gain(other) < gain(found) - 1e-9 for other in others if other > found + 1)


def test_with_equally_many_of_both_labels_the_threshold_has_most_right_answers():
    generator = np.random.default_rng(1)
    labels_T = np.arange(40) % 2 == 0
    scores_T = generator.normal(size=40) + labels_T
    right = [((scores_T > threshold) == labels_T).sum() for threshold in scores_T]
    assert ((scores_T > best_threshold(scores_T, labels_T)) == labels_T).sum() == max(right)


def test_f1_is_the_one_counted_by_hand_and_that_of_scikit_learn():
    said_T = np.array([True, True, False, True, False, False])
    labels_T = np.array([True, False, True, True, False, False])
    assert f1_score(said_T, labels_T) == pytest.approx(2 * 2 / (2 * 2 + 1 + 1))
    generator = np.random.default_rng(0)
    said_T, labels_T = generator.random(300) < 0.4, generator.random(300) < 0.6
    found = f1(said_T, labels_T, np.arange(300) // 3, seed=0)
    assert found.value == f1_score(said_T, labels_T) == pytest.approx(reference_f1(labels_T, said_T))
    assert found.low < found.value < found.high and found.n == 100
    assert f1_score(np.zeros(3, dtype=bool), np.zeros(3, dtype=bool)) == 0
