"""`LogisticProbe`: the weights of a logistic regression."""

from dataclasses import dataclass

import torch

from bathyscope.errors import ConfigError
from bathyscope.evaluation.extras import require_science
from bathyscope.evaluation.probes import best_penalty, dense_probe
from bathyscope.vectors.learner import Learned, Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class LogisticProbe:
    """`p(true) = σ(x·u + b)`, channels standardised for the fit, L2 chosen by cross-validation over groups."""

    penalty: float | None = None
    """Inverse strength of L2; None chooses one."""

    def __post_init__(self) -> None:
        if self.penalty is not None and not self.penalty > 0:
            raise ConfigError(f"penalty is {self.penalty}, expected a number above 0")

    def learn(self, lesson: Lesson) -> Learned:
        """The probe's weights in units of the activations."""
        require_science("a logistic probe")
        rows_MD, labels_M, groups_M = lesson.examples.rows(lesson.pool)
        x_MD = rows_MD.numpy()
        penalty = best_penalty(x_MD, labels_M, groups_M) if self.penalty is None else self.penalty
        fitted = dense_probe(x_MD, labels_M, penalty=penalty)
        return Learned(direction_D=torch.from_numpy(fitted.weights), notes={"penalty": penalty})
