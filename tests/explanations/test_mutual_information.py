"""Mutual-information words: against the dense formulas, and on planted words where the literal rule fails."""

import numpy as np
import pytest
import torch

from bathyscope.errors import ConfigError
from bathyscope.explanations import mutual_information
from bathyscope.explanations.mutual_information import MutualInformation, WordModel


def randn(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def U_FD() -> torch.Tensor:
    return randn(37, 12, seed=0) + 0.3


@pytest.fixture
def E_VD() -> torch.Tensor:
    return randn(50, 12, seed=1) - 0.2


def dense(U_FD: torch.Tensor, E_VD: torch.Tensor, *, k: float, bayes: bool):
    """score, p(w|c), p(c|w) as whole matrices, straight from the formulas."""
    logits = U_FD.double() @ E_VD.double().T
    S = logits / (logits.std(correction=0) / k)
    p_word = S.softmax(1)
    p_feature = p_word / p_word.sum(0) if bayes else S.softmax(0)
    return p_word * (p_feature.log() + np.log(len(U_FD))), p_word, p_feature


@pytest.mark.parametrize("bayes", [False, True])
@pytest.mark.parametrize("chunk", [1, 400, 1 << 22])
def test_chunks_give_the_dense_result(monkeypatch, U_FD, E_VD, bayes, chunk):
    monkeypatch.setattr(mutual_information, "CHUNK_SCORES", chunk)
    words = WordModel.fit(U_FD, E_VD, k=1.5, bayes=bayes)
    parts = [words.ranked(chunk_CD, n=5) for chunk_CD in words.chunks()]
    score, p_word, p_feature = dense(U_FD, E_VD, k=1.5, bayes=bayes)
    best = score.topk(5, dim=1)
    found = torch.cat([part.words for part in parts])
    assert torch.equal(found, best.indices)
    torch.testing.assert_close(torch.cat([part.scores for part in parts]), best.values, rtol=1e-5, atol=1e-8)
    torch.testing.assert_close(torch.cat([part.p_word for part in parts]), p_word.gather(1, found), rtol=1e-5, atol=0)
    p = torch.cat([part.p_feature for part in parts])
    torch.testing.assert_close(p, p_feature.gather(1, found), rtol=1e-5, atol=0)


def test_the_bayes_score_sums_to_the_mutual_information(U_FD, E_VD):
    words = WordModel.fit(U_FD, E_VD, k=1.5, bayes=True)
    _, p_word, _ = dense(U_FD, E_VD, k=1.5, bayes=True)
    joint = p_word / len(U_FD)
    information = float((joint * (joint / joint.sum(0) / joint.sum(1, keepdim=True)).log()).sum())
    assert np.isclose(float(words.ranked(U_FD, n=50).scores.sum()) / len(U_FD), information, rtol=1e-4)


def test_the_logit_ranking_is_the_plain_one(U_FD, E_VD):
    found = WordModel.fit(U_FD, E_VD, k=1.5, bayes=False).ranked(U_FD, n=4, by_logit=True)
    best = (U_FD @ E_VD.T).topk(4, dim=1)
    assert torch.equal(found.words, best.indices)
    torch.testing.assert_close(found.scores.float(), best.values, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("k", [1.0, 1.5, 2.0])
def test_scores_are_free_of_ties_and_k_changes_few_best_words(U_FD, E_VD, k):
    found = WordModel.fit(U_FD * 50, E_VD, k=k, bayes=False).ranked(U_FD * 50, n=50)
    assert all(len(set(row)) == 50 for row in found.scores.tolist())
    middle = WordModel.fit(U_FD, E_VD, k=1.5, bayes=False).ranked(U_FD, n=1)
    assert (found.words[:, :1] == middle.words).float().mean() > 0.8


def test_the_scale_of_the_logits_does_not_matter(U_FD, E_VD):
    plain = WordModel.fit(U_FD, E_VD, k=1.5, bayes=False).ranked(U_FD, n=5)
    scaled = WordModel.fit(U_FD * 4096, E_VD, k=1.5, bayes=False).ranked(U_FD * 4096, n=5)
    assert torch.equal(plain.words, scaled.words)
    torch.testing.assert_close(plain.scores, scaled.scores)


def released_rule(U_FD: torch.Tensor, E_VD: torch.Tensor, *, k: float, n: int) -> torch.Tensor:
    """The published ranking p(w|c)·log p(c|w), largest first. Only here: it must stay bad."""
    _, p_word, p_feature = dense(U_FD, E_VD, k=k, bayes=False)
    return (p_word * p_feature.log()).topk(n, dim=1).indices


@pytest.mark.parametrize("k", [1.0, 1.5, 2.0])
def test_own_word_is_found_where_the_released_rule_fails(k):
    n_features, n_words, d_model = 400, 3000, 96
    common_D = randn(1, d_model, seed=2)
    E_VD = randn(n_words, d_model, seed=3) + torch.linspace(1.5, 0, n_words)[:, None] * common_D  # frequent words lead
    own = torch.randperm(n_words, generator=torch.Generator().manual_seed(4))[:n_features]
    U_FD = E_VD[own] / E_VD[own].norm(dim=1, keepdim=True)
    U_FD = U_FD + 0.5 * randn(n_features, d_model, seed=5) / d_model**0.5
    words = WordModel.fit(U_FD, E_VD, k=k, bayes=False)
    found = (words.ranked(U_FD, n=10).words == own[:, None]).any(1).float().mean()
    released = (released_rule(U_FD, E_VD, k=k, n=10) == own[:, None]).any(1).float().mean()
    assert found >= 0.99
    assert released <= 0.5


def test_topic_words_win_over_frequent_words_that_every_feature_raises():
    n_topics, per_topic, d_model = 40, 8, 64
    topics_TD = randn(n_topics, d_model, seed=6)
    shared_D = randn(1, d_model, seed=7)
    E_VD = torch.cat([topics_TD.repeat_interleave(per_topic, 0), shared_D.repeat(40, 1)])
    E_VD = E_VD + 0.5 * randn(len(E_VD), d_model, seed=8)
    U_FD = topics_TD + shared_D
    words = WordModel.fit(U_FD, E_VD, k=1.5, bayes=False)
    topic_of_word = torch.cat([torch.arange(n_topics).repeat_interleave(per_topic), torch.full((40,), -1)])
    own = torch.arange(n_topics)[:, None]
    by_score = (topic_of_word[words.ranked(U_FD, n=per_topic).words] == own).float().mean()
    by_logit = (topic_of_word[words.ranked(U_FD, n=per_topic, by_logit=True).words] == own).float().mean()
    assert by_score > 0.9
    assert by_logit < 0.3


def test_a_newcomer_scores_as_if_it_were_fitted_alone_beside_the_others(U_FD, E_VD):
    new_RD = randn(3, 12, seed=9)
    words = WordModel.fit(U_FD, E_VD, k=1.5, bayes=False)
    found = words.ranked_newcomers(new_RD, n=2)
    for i in range(3):
        S = torch.cat([U_FD, new_RD[i : i + 1]]).double() @ E_VD.double().T / words.tau
        score = S.softmax(1)[-1] * (S.log_softmax(0)[-1] + np.log(38))
        torch.testing.assert_close(found.scores[i], score.topk(2).values, rtol=1e-5, atol=1e-8)
        assert torch.equal(found.words[i], score.topk(2).indices)


def test_constant_vectors_are_refused():
    with pytest.raises(ConfigError, match="same logits"):
        WordModel.fit(torch.zeros(3, 4), torch.ones(5, 4), k=1.5, bayes=False)


def test_settings_out_of_range_are_refused():
    for wrong in ({"k": 0.0}, {"null_quantile": 1.0}, {"n_words": 1}, {"n_random": 1}):
        with pytest.raises(ConfigError):
            MutualInformation(**wrong)
