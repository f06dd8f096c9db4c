"""`DiffMean`: the difference of two means."""

from dataclasses import dataclass

import torch

from bathyscope.evaluation.probes import difference_of_means
from bathyscope.vectors.learner import Learned, Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffMean:
    """`u = μ⁺ - μ⁻`, the means of true and of false rows (of pairs: the mean shift)."""

    def learn(self, lesson: Lesson) -> Learned:
        """The difference of means."""
        rows_MD, labels_M, _ = lesson.examples.rows(lesson.pool)
        return Learned(direction_D=torch.from_numpy(difference_of_means(rows_MD.numpy(), labels_M).weights))
