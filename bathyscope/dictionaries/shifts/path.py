"""The β-path: the bound on L1 from loose to tight, restarts followed with warm starts, and the bound that is chosen.

1. Without a bound the best reconstruction is known in closed form: EV_max, the share held by the frame. The L1 there is
   not determined; random rotations give its usual value, l1_free, the unit in which every β is stated. For normally
   distributed changes β / l1_free is about the square root of the share of concepts that change.
2. β = l1_free · ratio^i, every restart from where the bound before left it, until most lose EV ≥ EV_max - tolerance.
   A bound that all restarts meet already while they reconstruct everything moves nothing: they are optimal there.
3. The knee: with its best encoder every decoder reconstructs EV_max again, at an L1 that is too high where the bound
   had been too loose and too high again where it had been too tight. The lowest so far is the next bound, as long as
   that lowers it further.
4. Among bounds that keep EV, those whose restarts agree most; among all their restarts, the one with the lowest L1 at
   its best encoder, that is, at the same EV.

Nothing here can know whether what was found is the truth: reconstruction never tells (docs/shifts.md).
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.shifts.ascent import ascend
from bathyscope.dictionaries.shifts.columns import Columns, agreement, measure, refitted
from bathyscope.dictionaries.shifts.frame import Frame
from bathyscope.dictionaries.shifts.settings import ShiftSettings
from bathyscope.dictionaries.shifts.starts import starts

STILL = 1e-3
"""A bound at the knee that lowers L1 by less than this share was the last."""
MOST_BOUNDS = 60
"""Bounds after which the path ends in any case: ratio^60."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PathRow:
    """One bound of the path."""

    beta: float
    """Bound on L1 as a multiple of l1_free."""
    explained: tuple[float, ...]
    """Share of the shifts' mean square that each restart reconstructs."""
    l1: tuple[float, ...]
    """Each restart's L1 as a multiple of l1_free."""
    price: tuple[float, ...]
    """Each restart's multiplier μ: how much reconstruction one more percent of L1 would buy; 0 where it has slack."""
    l1_full: tuple[float, ...]
    """Each restart's L1 with its best encoder, as a multiple of l1_free; infinity where that loses too much."""
    agreement: float
    """Mean |cosine| between restarts in their best assignment; NaN for a single restart."""
    is_kept: bool
    """Whether at least half of the restarts reconstruct well enough."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Problem:
    """What stays the same along the path."""

    y_PM: Float[Tensor, "P M"]
    """Coordinates of the shifts."""
    frame: Frame
    """The frame they are in."""
    l1_free: float
    """Mean L1 of random rotations: the unit of β."""
    settings: ShiftSettings
    """What is asked."""

    @property
    def wanted(self) -> float:
        """EV_max - tolerance."""
        return self.frame.explained - self.settings.lost


def problem_of(shifts_PD: Float[Tensor, "P D"], frame: Frame, settings: ShiftSettings) -> Problem:
    """The path's constants."""
    y_PM = frame.coordinates(shifts_PD).to(settings.device)
    generator = torch.Generator().manual_seed(settings.seed)
    random = starts(y_PM, frame, kind="random", n_restarts=8, generator=generator)
    l1_free = float(measure(random, y_PM, frame).l1_R.mean())
    return Problem(y_PM=y_PM, frame=frame, l1_free=l1_free, settings=settings)


def begin(problem: Problem) -> Columns:
    """The restarts before the first bound."""
    generator = torch.Generator().manual_seed(problem.settings.seed + 1)
    kind, n_restarts = problem.settings.start, problem.settings.n_restarts
    return starts(problem.y_PM, problem.frame, kind=kind, n_restarts=n_restarts, generator=generator)


def at_bound(problem: Problem, columns: Columns, beta: float, *, number: int) -> tuple[PathRow, Columns]:
    """Row and restarts after the bound `beta`, from `columns`. `number` (of the bound) seeds its batches."""
    frame, settings, bound = problem.frame, problem.settings, beta * problem.l1_free
    before = measure(columns, problem.y_PM, frame)
    slack = float(frame.explained - before.explained_R.min())
    if bool((before.l1_R > bound).any()) or slack > 0.02 * settings.lost:
        columns = ascend(
            problem.y_PM,
            frame.weights_M,
            columns,
            torch.full((columns.n_restarts,), bound),
            settings=settings.ascent,
            generator=torch.Generator().manual_seed(settings.seed * 1000 + number),
        )
    found = measure(columns, problem.y_PM, frame)
    n_kept = int((found.explained_R >= problem.wanted).sum())
    row = PathRow(
        beta=beta,
        explained=tuple(found.explained_R.tolist()),
        l1=tuple((found.l1_R / problem.l1_free).tolist()),
        price=tuple(columns.price_R.double().tolist()),
        l1_full=_full(problem, columns),
        agreement=agreement(columns, frame),
        is_kept=2 * n_kept >= columns.n_restarts,
    )
    return row, columns


def next_beta(rows: list[PathRow], settings: ShiftSettings) -> float | None:
    """The bound to try after these rows; None when the path is done."""
    if settings.beta is not None:
        return None if rows else settings.beta
    if not rows:
        return 1.0
    n_loose = next((number for number, row in enumerate(rows) if not row.is_kept), len(rows))
    if n_loose == len(rows):
        return rows[-1].beta * settings.ratio if len(rows) < MOST_BOUNDS else None
    n_refined = len(rows) - n_loose - 1
    lowest, lowest_before = (min(min(row.l1_full) for row in part) for part in (rows, rows[:-1] or rows))
    is_still = n_refined > 0 and lowest > (1 - STILL) * lowest_before
    is_done = is_still or n_refined >= settings.n_refined or n_loose == 0 or math.isinf(lowest)
    return None if is_done else lowest


def warm_start(rows: list[PathRow]) -> int | None:
    """Number of the row whose restarts the next bound begins from; None for the starts.

    The one before while the path comes down; at the knee the one that holds the lowest L1.
    """
    if not rows:
        return None
    if rows[-1].is_kept and all(row.is_kept for row in rows):
        return len(rows) - 1
    return min(range(len(rows)), key=lambda number: min(rows[number].l1_full))


def choose(rows: list[PathRow], settings: ShiftSettings) -> tuple[int, int]:
    """Number of the chosen bound and of its restart; where no bound keeps EV, the best reconstruction there is."""
    kept = [number for number, row in enumerate(rows) if row.is_kept]
    if not kept:
        number = max(range(len(rows)), key=lambda number: max(rows[number].explained))
        return number, int(torch.tensor(rows[number].explained).argmax())
    agreement = {number: 0.0 if math.isnan(rows[number].agreement) else rows[number].agreement for number in kept}
    close = [number for number in kept if agreement[number] >= max(agreement.values()) - settings.agreement_slack]
    number = min(close, key=lambda number: min(rows[number].l1_full))
    return number, int(torch.tensor(rows[number].l1_full).argmin())


def _full(problem: Problem, columns: Columns) -> tuple[float, ...]:
    """L1 of each restart at its best encoder."""
    found = measure(refitted(columns), problem.y_PM, problem.frame)
    is_whole_R = found.explained_R >= problem.wanted
    return tuple(torch.where(is_whole_R, found.l1_R / problem.l1_free, torch.inf).tolist())
