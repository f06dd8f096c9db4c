"""Figures of training, gathered over some steps without waiting for the device at each.

EV = 1 - Σ‖x - x̂‖² / Σ‖x - x̄‖² with x̄ the mean over all tokens since the last reading, not over each batch.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.trainee import Loss


class Meter:
    """Sums of a few steps, read out together."""

    def __init__(self) -> None:
        self._rows: list[Tensor] = []
        self._means: list[Tensor] = []
        self._sizes: list[int] = []
        self._names: tuple[str, ...] = ()

    def add(self, loss: Loss, gradient_norm: Float[Tensor, ""]) -> None:
        """Take in one step."""
        self._names = tuple(loss.parts)
        figures = [loss.total.detach(), loss.squared_error, loss.target.variation, loss.fires_F.sum()]
        figures += [gradient_norm, *loss.parts.values()]
        self._rows.append(torch.stack([figure.double() for figure in figures]))
        self._means.append(loss.target.mean_D)
        self._sizes.append(loss.target.n)

    @property
    def n_steps(self) -> int:
        """Steps since the last reading."""
        return len(self._sizes)

    def first_bad_step(self) -> int | None:
        """Number of steps before the first one whose loss or gradient is not finite; None when all are."""
        if not self._rows:
            return None
        bad_S = ~torch.stack(self._rows)[:, [0, 4]].isfinite().all(1)
        return int(bad_S.nonzero()[0]) if bool(bad_S.any()) else None

    def first_error_share(self) -> float:
        """`Σ‖x - x̂‖² / Σ‖x - x̄‖²` of the first step since the last reading; 0 where nothing varies."""
        error, variation = self._rows[0][1:3].tolist()
        return error / variation if variation > 0 else 0.0

    def first_step_above(self, share: float) -> int | None:
        """Number of steps before the first one whose squared error exceeds `share` times the variation.

        The variation is the step's own, or that of all steps when it is larger: rare huge activations are no fault.
        """
        rows_SM, n_S = torch.stack(self._rows).cpu(), torch.tensor(self._sizes, dtype=torch.float64)
        limit_S = share * torch.maximum(rows_SM[:, 2], n_S * (rows_SM[:, 2].sum() / n_S.sum()))
        far_S = (rows_SM[:, 1] > limit_S) & (limit_S > 0)
        return int(far_S.nonzero()[0]) if bool(far_S.any()) else None

    def read(self) -> dict[str, float]:
        """Means over the steps since the last reading, weighted by tokens, and the variance explained over them."""
        rows_SM = torch.stack(self._rows).cpu()
        n_S = torch.tensor(self._sizes, dtype=torch.float64)
        means_SD = torch.stack(self._means).double().cpu()
        weight_S = n_S / n_S.sum()
        between_S = (means_SD - weight_S @ means_SD).square().sum(1)
        variation = float(rows_SM[:, 2].sum() + (n_S * between_S).sum())
        error = float(rows_SM[:, 1].sum())
        averages = {"loss": 0, "gradient_norm": 4, **{name: 5 + i for i, name in enumerate(self._names)}}
        figures = {name: float(weight_S @ rows_SM[:, column]) for name, column in averages.items()}
        figures["variance_explained"] = variance_explained(error, variation)
        figures["l0"] = float(rows_SM[:, 3].sum() / n_S.sum())
        for gathered in (self._rows, self._means, self._sizes):
            gathered.clear()
        return figures


def variance_explained(squared_error: float, variation: float) -> float:
    """`1 - Σ‖x - x̂‖² / Σ‖x - x̄‖²`; 0 when the activations do not vary."""
    return 1 - squared_error / variation if variation > 0 else 0.0
