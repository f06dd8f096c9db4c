"""An inequality constraint kept by projected dual ascent, beside any optimiser of the rest.

min f(θ) subject to v(θ) ≤ 0:   loss = f + μ·v, μ held still;  after the step  μ ← max(0, μ + lr·v)
With a proportional part (PI control):  I ← max(0, I + lr·v),  μ = max(0, I + proportion·v)

The multiplier rises while the constraint is violated, falls while it has slack, and stays at 0 when it is not needed.
At a solution μ·v = 0. Knows nothing of what is constrained. Several independent constraints are one tensor.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from bathyscope.dictionaries.ranges import require_not_negative, require_positive
from bathyscope.dictionaries.schedule import ramp
from bathyscope.errors import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class DualSettings:
    """How fast the multiplier moves."""

    dual_lr: float = 1e-2
    """Step of μ per unit of violation and optimiser step."""
    dual_proportion: float = 0.0
    """Weight of the present violation in μ, against swinging; 0 is plain dual ascent."""
    dual_start: float = 0.0
    """μ before the first step."""

    def __post_init__(self) -> None:
        require_positive(self, "dual_lr")
        require_not_negative(self, "dual_proportion", "dual_start")


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundSchedule:
    """A bound that comes down during a run, geometrically: from `bound_start` times itself, to itself."""

    bound_start: float = 1.0
    """The bound at the beginning, in multiples of the final one; at least 1."""
    bound_hold: float = 0.0
    """Share of the run during which it stays there."""
    bound_fall: float = 0.0
    """Share of the run over which it then falls to its final value."""

    def __post_init__(self) -> None:
        if not 1 <= self.bound_start < float("inf"):
            raise ConfigError(f"the bound starts at {self.bound_start} times itself: expected at least 1")
        if not (self.bound_hold >= 0 and self.bound_fall >= 0 and self.bound_hold + self.bound_fall <= 1):
            raise ConfigError(
                f"hold {self.bound_hold} and fall {self.bound_fall} are shares of one run: their sum is at most 1"
            )

    def factor(self, progress: float) -> float:
        """By what the final bound is multiplied at `progress` in [0, 1]."""
        return self.bound_start ** (1 - ramp(progress - self.bound_hold, self.bound_fall))


class Dual(nn.Module):
    """Multipliers μ ≥ 0 of constraints of one shape; all state is in buffers, so `state_dict` resumes it."""

    integral: Float[Tensor, "..."]
    """I ≥ 0; μ itself without a proportional part."""
    last: Float[Tensor, "..."]
    """Violation of the last update; 0 before the first."""

    def __init__(self, settings: DualSettings, *, shape: Sequence[int] = ()) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("integral", torch.full(tuple(shape), settings.dual_start))
        self.register_buffer("last", torch.zeros(tuple(shape)))

    @property
    def multiplier(self) -> Float[Tensor, "..."]:
        """μ."""
        return (self.integral + self.settings.dual_proportion * self.last).clamp_min(0)

    def penalty(self, violation: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """`μ·v`, with μ as a constant: what is added to the loss."""
        return self.multiplier * violation

    def update(self, violation: Float[Tensor, "..."]) -> None:
        """Move μ after an optimiser step, by the violation that the step was made with."""
        self.last.copy_(violation.detach())
        self.integral.copy_((self.integral + self.settings.dual_lr * self.last).clamp_min(0))
