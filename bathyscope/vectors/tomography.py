"""`Tomography`: linear artificial tomography, LAT (Zou et al. 2023, arXiv 2310.01405)."""

from dataclasses import dataclass

import torch

from bathyscope.vectors.learner import Learned, Lesson, toward_true
from bathyscope.vectors.principal_component import first_component


@dataclass(frozen=True, slots=True, kw_only=True)
class Tomography:
    """First principal component of unit differences `(h - h') / |h - h'|` between the rows of pairs.

    The pairs are those of the data, else rows put together at random whatever their labels; which side comes first does
    not matter to the component. Labels set the sign alone. Equal rows give no difference and are left out.
    """

    def learn(self, lesson: Lesson) -> Learned:
        """The component."""
        rows_MD, labels_M, _ = lesson.examples.rows(lesson.pool)
        if lesson.examples.is_paired:
            differences_PD = lesson.examples.shifts_PD()
        else:
            order_M = torch.randperm(len(rows_MD), generator=torch.Generator().manual_seed(lesson.seed))
            half = len(order_M) // 2
            differences_PD = rows_MD[order_M[:half]] - rows_MD[order_M[half : 2 * half]]
        unit_PD = torch.nn.functional.normalize(differences_PD, dim=1)
        return Learned(direction_D=toward_true(first_component(unit_PD), rows_MD, labels_M))
