"""`PrincipalComponent` (PCA): the direction along which true rows, or the shifts of pairs, vary most."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ConfigError
from bathyscope.vectors.learner import Learned, Lesson, toward_true


@dataclass(frozen=True, slots=True, kw_only=True)
class PrincipalComponent:
    """First principal component: of the true rows about their mean; of pairs, of `h⁺ - h⁻`.

    The shifts of pairs are not centred: what all of them share is what is looked for, and their mean is it. The sign is
    the one that most shifts have; without pairs, the one of true rows.
    """

    def learn(self, lesson: Lesson) -> Learned:
        """The component. Raises ConfigError when all rows are equal."""
        rows_MD, labels_M, _ = lesson.examples.rows(lesson.pool)
        if not lesson.examples.is_paired:
            true_MD = rows_MD[torch.from_numpy(labels_M)]
            return Learned(direction_D=toward_true(first_component(true_MD - true_MD.mean(0)), rows_MD, labels_M))
        shifts_PD = lesson.examples.shifts_PD()
        direction_D = first_component(shifts_PD)
        majority = float((shifts_PD @ direction_D).sign().sum())
        return Learned(direction_D=direction_D if majority >= 0 else -direction_D)


def first_component(rows_MD: Float[Tensor, "M D"]) -> Float[Tensor, " D"]:
    """The unit vector u with the largest Σ (x·u)²; its sign is arbitrary. Raises ConfigError when all rows are zero."""
    if not bool(rows_MD.any()):
        raise ConfigError("all activations are equal: no direction can be learnt from them")
    return torch.linalg.svd(rows_MD, full_matrices=False).Vh[0]
