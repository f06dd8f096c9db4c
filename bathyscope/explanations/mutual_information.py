"""Words that say most about a feature: pointwise terms of the mutual information between words and features.

    S = U @ Eᵀ / τ ,  τ = std(U @ Eᵀ) / k            U = final_norm(directions), E = word vectors
    p(w|c) = softmax of S over words                  p(c|w) = softmax of S over features that are alive
    score(c, w) = p(w|c) · [log p(c|w) + log F]       F × this word's term of I(W;C) under a uniform p(c)

After Wu et al. 2025 (arXiv 2502.15576), but not as published: there the words are ranked by p(w|c) · log p(c|w) alone,
which is at most 0 and therefore puts the words with p(w|c) → 0 first. The dropped constant log F is only constant over
the whole vocabulary, not over the few words that are chosen.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.explanations.vocabulary import VocabularySettings

CHUNK_SCORES = 1 << 22
"""Feature × word entries held at once (32 MB in float64, a few times over)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MutualInformation:
    """How words are found and ranked."""

    n_words: int = 5000
    """Size of the vocabulary."""
    words_per_feature: int = 15
    """Words kept for each feature and method."""
    k: float = 1.5
    """Sharpness: the standard deviation of the logits after the temperature, sensible from 1 to 2."""
    direction: Literal["decoder", "encoder"] = "decoder"
    """What a feature writes, or what it reads."""
    lens: Literal["final-norm", "affine"] = "final-norm"
    """The way to the unembedding: the final norm alone, or before it an affine map fitted from the hookpoint on."""
    lens_tokens: int = 8192
    """Tokens of explaining documents that the affine map is fitted on."""
    bayes: bool = False
    """Take p(c|w) from p(w|c) by Bayes' rule with uniform p(c), instead of a softmax over features."""
    vocabulary: VocabularySettings = field(default_factory=VocabularySettings)
    """Which words may be used."""
    n_random: int = 1000
    """Random directions that the null is measured on."""
    null_quantile: float = 0.95
    """A feature's word beats the null above this quantile of the best scores of random directions."""
    seed: int = 0
    """Seed of the random directions."""

    def __post_init__(self) -> None:
        if self.k <= 0 or not 0 < self.null_quantile < 1:
            raise ConfigError(
                f"k is {self.k} and null_quantile {self.null_quantile}; expected k > 0 and 0 < quantile < 1"
            )
        if self.lens_tokens < 1:
            raise ConfigError(f"lens_tokens is {self.lens_tokens}, expected at least 1")
        if self.n_words < 2 or self.words_per_feature < 1 or self.n_random < 20:
            raise ConfigError("n_words must be at least 2, words_per_feature at least 1 and n_random at least 20")


class WordScores(NamedTuple):
    """Ranked words of F features, best first."""

    words: Int[Tensor, "F n"]
    """Numbers of the words."""
    scores: Float[Tensor, "F n"]
    p_word: Float[Tensor, "F n"]
    """p(w|c)"""
    p_feature: Float[Tensor, "F n"]
    """p(c|w)"""


@dataclass(frozen=True, slots=True, kw_only=True)
class WordModel:
    """Two softmaxes over one table of F features and V words, in log space and float64, never held whole."""

    U_FD: Float[Tensor, "F D"]
    """Directions of the features that are alive, after the final norm."""
    E_VD: Float[Tensor, "V D"]
    """Word vectors."""
    tau: float
    """Temperature."""
    log_norm_V: Float[Tensor, " V"]
    """log Σ over features of exp S, or of p(w|c) with Bayes' rule."""
    bayes: bool

    @classmethod
    def fit(cls, U_FD: Float[Tensor, "F D"], E_VD: Float[Tensor, "V D"], *, k: float, bayes: bool) -> "WordModel":
        """The first of two passes over feature chunks: each word's normaliser over features.

        Raises ConfigError when all logits are equal.
        """
        tau = _spread(U_FD, E_VD) / k
        if tau <= 0:
            raise ConfigError("all words have the same logits: the directions or the word vectors are constant")
        log_norm_V = torch.full((len(E_VD),), -torch.inf, dtype=torch.float64)
        fitted = cls(U_FD=U_FD, E_VD=E_VD, tau=tau, log_norm_V=log_norm_V, bayes=bayes)
        for chunk_FD in fitted.chunks():
            S_FV = fitted.logits(chunk_FD)
            torch.logaddexp(log_norm_V, (S_FV.log_softmax(1) if bayes else S_FV).logsumexp(0), out=log_norm_V)
        return fitted

    def chunks(self) -> Iterator[Float[Tensor, "C D"]]:
        """The directions, some at a time."""
        yield from self.U_FD.split(max(1, CHUNK_SCORES // len(self.E_VD)))

    def logits(self, U_CD: Float[Tensor, "C D"]) -> Float[Tensor, "C V"]:
        """S of some directions, in float64."""
        return (U_CD @ self.E_VD.T).double() / self.tau

    def ranked(self, U_CD: Float[Tensor, "C D"], *, n: int, by_logit: bool = False) -> WordScores:
        """The `n` best words of some of the fitted directions, by score or by the bare logit (in units of U @ Eᵀ)."""
        S_CV = self.logits(U_CD)
        log_p_word = S_CV.log_softmax(1)
        log_p_feature = (log_p_word if self.bayes else S_CV) - self.log_norm_V
        by = S_CV * self.tau if by_logit else None
        return _best(log_p_word, log_p_feature, n_features=len(self.U_FD), n=n, by=by)

    def ranked_newcomers(self, U_CD: Float[Tensor, "C D"], *, n: int) -> WordScores:
        """The `n` best words of each of some other directions, each as if it alone joined the features."""
        S_CV = self.logits(U_CD)
        log_p_word = S_CV.log_softmax(1)
        own = log_p_word if self.bayes else S_CV
        log_p_feature = own - torch.logaddexp(self.log_norm_V, own)
        return _best(log_p_word, log_p_feature, n_features=len(self.U_FD) + 1, n=n)


def _best(
    log_p_word: Float[Tensor, "C V"],
    log_p_feature: Float[Tensor, "C V"],
    *,
    n_features: int,
    n: int,
    by: Float[Tensor, "C V"] | None = None,
) -> WordScores:
    """The `n` best words by their pointwise score, or by other figures."""
    score = log_p_word.exp() * (log_p_feature + math.log(n_features)) if by is None else by
    best = score.topk(min(n, score.shape[1]), dim=1)
    return WordScores(
        words=best.indices,
        scores=best.values,
        p_word=log_p_word.gather(1, best.indices).exp(),
        p_feature=log_p_feature.gather(1, best.indices).exp(),
    )


def _spread(U_FD: Float[Tensor, "F D"], E_VD: Float[Tensor, "V D"]) -> float:
    """Standard deviation of all entries of U @ Eᵀ, from the two Gram matrices."""
    U, E = U_FD.double(), E_VD.double()
    n = len(U) * len(E)
    mean = float(U.sum(0) @ E.sum(0)) / n
    square = float(((U.T @ U) * (E.T @ E)).sum()) / n
    return max(square - mean * mean, 0.0) ** 0.5
