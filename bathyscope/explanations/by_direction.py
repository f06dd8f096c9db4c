"""What a feature's direction alone says: words by mutual information, by the bare logit, and their null."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.explanations.lens import Lens
from bathyscope.explanations.methods import LOGIT_LENS, MUTUAL_INFORMATION
from bathyscope.explanations.mutual_information import MutualInformation, WordModel, WordScores
from bathyscope.explanations.ranked import Ranked, named
from bathyscope.explanations.vocabulary import Vocabulary, build_vocabulary, word_vectors
from bathyscope.features.logits import through_final_norm
from bathyscope.features.reader import FeatureIndex
from bathyscope.models.model import Model

N_SHOWN_RANDOM = 500
"""Random directions whose words are kept, to be scored beside those of features."""
_CHUNK = 64


@dataclass(frozen=True)
class DirectionWords:
    """Words of the directions of some features, ready to be ranked a few features at a time."""

    method: MutualInformation
    vocabulary: Vocabulary
    n_word_tokens: Int[np.ndarray, " V"]
    words: WordModel
    U_random_RD: Float[Tensor, "R D"]
    """Random directions after the same lens and norm."""

    @cached_property
    def null_score(self) -> float:
        """The `null_quantile` of the best word's score over random directions, put through the same pipeline."""
        best_R = torch.cat(
            [self.words.ranked_newcomers(chunk, n=1).scores[:, 0] for chunk in self.U_random_RD.split(_CHUNK)]
        )
        return float(best_R.quantile(self.method.null_quantile))

    def ranked(self, places: slice) -> tuple[Ranked, Ranked]:
        """Words of some of the features (by their place) by score and by bare logit."""
        U_CD, n = self.words.U_FD[places], self.method.words_per_feature
        by_score, by_logit = self.words.ranked(U_CD, n=n), self.words.ranked(U_CD, n=n, by_logit=True)
        beats = by_score.scores.numpy() > self.null_score
        return self._named(MUTUAL_INFORMATION, by_score, beats), self._named(LOGIT_LENS, by_logit, None)

    def of_random(self) -> Ranked:
        """Words of the first random directions."""
        found = self.words.ranked_newcomers(self.U_random_RD[:N_SHOWN_RANDOM], n=self.method.words_per_feature)
        return self._named(MUTUAL_INFORMATION, found, found.scores.numpy() > self.null_score)

    def _named(self, method: str, found: WordScores, beats: np.ndarray | None) -> Ranked:
        numbers = found.words.numpy()
        return Ranked(
            method=method,
            words=named(self.vocabulary.words, numbers),
            score=found.scores.numpy(),
            p_word=found.p_word.numpy(),
            p_feature=found.p_feature.numpy(),
            n_word_tokens=self.n_word_tokens[numbers],
            beats_null=beats,
        )


def words_of_directions(
    index: FeatureIndex,
    method: MutualInformation,
    features: Int[np.ndarray, " F"],
    *,
    model: Model,
    dictionary: Dictionary,
    lens: Lens | None,
) -> DirectionWords:
    """Vocabulary, word vectors and directions of the given features, and random ones for the null.

    Raises ConfigError when no word of the text may be used.
    """
    vocabulary = build_vocabulary(index.word_counts, index.vocabulary, method.vocabulary, n_words=method.n_words)
    E_VD, n_word_tokens = word_vectors(model, vocabulary.words)
    directions_FD = dictionary.W_dec if method.direction == "decoder" else dictionary.W_enc.T
    generator = torch.Generator().manual_seed(method.seed)
    random_RD = torch.randn(method.n_random, model.d_model, generator=generator)
    U_FD, U_random_RD = (
        through_final_norm(model, each if lens is None else lens.through(each)).cpu()
        for each in (directions_FD[torch.from_numpy(features)], random_RD)
    )
    return DirectionWords(
        method=method,
        vocabulary=vocabulary,
        n_word_tokens=n_word_tokens,
        words=WordModel.fit(U_FD, E_VD, k=method.k, bayes=method.bayes),
        U_random_RD=U_random_RD,
    )
