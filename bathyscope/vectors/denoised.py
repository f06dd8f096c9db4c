"""`DenoisedDiffMean`: the part of a difference of means that a few features of a dictionary carry."""

from dataclasses import dataclass

import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.probes import largest_difference
from bathyscope.vectors.columns import text_codes
from bathyscope.vectors.learner import Learned, Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class DenoisedDiffMean:
    """`u = Σ_{f ∈ top} (mean c⁺_f - mean c⁻_f) d_f`: the difference of means, decoded from a few features alone.

    The filtering variant of SDCV (Zhao et al. 2025, arXiv 2505.15038) applied to difference-in-means: reconstruct with
    the features that differ most and drop the rest. The paper's further scaling-up of those features is left out, and
    `top` is by |mean c⁺ - mean c⁻|; offsets cancel in the difference.
    """

    n_features: int = 32
    """Features that are kept."""

    def __post_init__(self) -> None:
        if self.n_features < 1:
            raise ConfigError(f"n_features is {self.n_features}, expected at least 1")

    def learn(self, lesson: Lesson) -> Learned:
        """The direction, and which features make it up. Raises ConfigError when no feature differs."""
        dictionary, labels_T = lesson.require_dictionary("a denoised difference"), lesson.examples.labels_T
        codes_TF = text_codes(lesson.examples, dictionary, lesson.pool)
        kept = largest_difference(codes_TF.numpy(), labels_T, k=self.n_features)
        true_T = torch.from_numpy(labels_T)
        codes_TM = codes_TF[:, torch.from_numpy(kept)].double()
        difference_M = codes_TM[true_T].mean(0) - codes_TM[~true_T].mean(0)
        if not bool(difference_M.any()):
            raise ConfigError("no feature of the dictionary differs between true and false texts")
        return Learned(
            direction_D=difference_M @ dictionary.W_dec[torch.from_numpy(kept)].double().cpu(),
            notes={"features": kept.tolist(), "dictionary": dictionary.digest},
        )
