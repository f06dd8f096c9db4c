"""`ShiftColumn`: a column of a dictionary of shifts (sparse shift autoencoder, arXiv 2502.12179)."""

from dataclasses import dataclass

import torch

from bathyscope.errors import ConfigError
from bathyscope.vectors.learner import Learned, Lesson


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftColumn:
    """`u = ± d_k`, `k = argmax_k |mean_p cos(d_k, δz_p)|` over the pairs of the teaching half, with the mean's sign.

    Without pairs δz is the one difference of means. Neither sign nor scale of a column is identified by shifts alone.
    """

    column: int | None = None
    """A column chosen elsewhere; None chooses one. The sign comes from the data either way."""

    def learn(self, lesson: Lesson) -> Learned:
        """The signed column."""
        dictionary, examples = lesson.require_dictionary("a column of shifts"), lesson.examples
        rows_MD, labels_M, _ = examples.rows(lesson.pool)
        true_M = torch.from_numpy(labels_M)
        shifts_PD = (
            examples.shifts_PD() if examples.is_paired else (rows_MD[true_M].mean(0) - rows_MD[~true_M].mean(0))[None]
        )
        mean_D = torch.nn.functional.normalize(shifts_PD, dim=1).mean(0)
        cosine_F = dictionary.W_dec.double().cpu() @ mean_D
        column = int(cosine_F.abs().argmax()) if self.column is None else self.column
        direction_D = dictionary.direction(column).detach().cpu()
        if not bool(direction_D.any()):
            raise ConfigError(f"column {column} of the dictionary is empty: it stands for no shift")
        cosine = float(cosine_F[column])
        return Learned(
            direction_D=direction_D if cosine >= 0 else -direction_D,
            notes={"column": column, "mean cosine on the teaching half": cosine, "dictionary": dictionary.digest},
        )
