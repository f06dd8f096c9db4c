"""Steps towards the least error under a bound on L1, for several restarts at once, by projected dual ascent.

min E‖y - y E B‖²_w  subject to  E Σ_c |h_c| ≤ β,  h = y E,  ‖B_c‖ = 1      (Joshi et al. 2025, arXiv 2502.12179)

loss_r = rec_r + μ_r · (l1_r - β_r)/β_r, Adam on E and B, rows of B brought back to length 1 after every step, then
μ_r ← max(0, μ_r + lr_dual · violation_r). Restarts share nothing but the order of the pairs. There is no normalisation
of codes: it would let any bound be met without a sparse code.
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.dictionaries.constraint import Dual, DualSettings
from bathyscope.dictionaries.ranges import require_positive
from bathyscope.dictionaries.schedule import ramp
from bathyscope.dictionaries.shifts.columns import Columns


@dataclass(frozen=True, slots=True, kw_only=True)
class AscentSettings:
    """How restarts are moved at one bound."""

    n_steps: int = 300
    """Steps at each bound."""
    batch_size: int = 512
    """Pairs per step, drawn with replacement; all of them where there are no more."""
    lr: float = 5e-3
    """Adam's rate; rows have length 1, so this is about the angle that a step can turn them by."""
    decay: float = 0.5
    """Share of the steps, at the end, over which the rate falls linearly to 2 % of itself."""
    dual: DualSettings = field(default_factory=DualSettings)
    """How the multiplier moves."""

    def __post_init__(self) -> None:
        require_positive(self, "n_steps", "batch_size", "lr")

    def rate(self, step: int) -> float:
        """The rate of a step."""
        return self.lr * max(0.02, ramp(1 - step / self.n_steps, self.decay))


def ascend(
    y_PM: Float[Tensor, "P M"],
    weights_M: Float[Tensor, " M"],
    columns: Columns,
    bound_R: Float[Tensor, " R"],
    *,
    settings: AscentSettings,
    generator: torch.Generator,
) -> Columns:
    """The restarts after `n_steps`; `bound_R` is β of each, infinity for none."""
    E_RMC, B_RCM = columns.E_RMC.clone().requires_grad_(), columns.B_RCM.clone().requires_grad_()
    dual = Dual(settings.dual, shape=bound_R.shape).to(y_PM.device)
    dual.integral.copy_(columns.price_R)
    adam = torch.optim.Adam([E_RMC, B_RCM], lr=settings.lr)
    weights_M, bound_R = weights_M.to(y_PM), bound_R.to(y_PM)
    for step in range(settings.n_steps):
        y_NM = y_PM[draw(len(y_PM), settings.batch_size, generator).to(y_PM.device)]
        codes_RNC = torch.matmul(y_NM, E_RMC)
        left_RNM = y_NM - torch.bmm(codes_RNC, B_RCM)
        error_R = (left_RNM.square().mean(1) * weights_M).sum(1)
        violation_R = torch.where(bound_R.isinf(), -1.0, codes_RNC.abs().sum(2).mean(1) / bound_R - 1)
        loss = (error_R + dual.penalty(violation_R)).sum()
        adam.param_groups[0]["lr"] = settings.rate(step)
        adam.zero_grad(set_to_none=True)
        loss.backward()
        adam.step()
        dual.update(violation_R)
        with torch.no_grad():
            B_RCM /= B_RCM.norm(dim=2, keepdim=True).clamp_min(1e-30)
    return Columns(E_RMC=E_RMC.detach(), B_RCM=B_RCM.detach(), price_R=dual.multiplier.clone())


def ascend_reference(
    y_PM: Float[Tensor, "P M"],
    weights_M: Float[Tensor, " M"],
    columns: Columns,
    bound: float,
    *,
    settings: AscentSettings,
    generator: torch.Generator,
) -> Columns:
    """The definition: a single restart (R = 1), one matrix product after the other."""
    E_MC, B_CM = (part[0].clone().requires_grad_() for part in (columns.E_RMC, columns.B_RCM))
    price = float(columns.price_R[0])
    adam = torch.optim.Adam([E_MC, B_CM], lr=settings.lr)
    for step in range(settings.n_steps):
        y_NM = y_PM[draw(len(y_PM), settings.batch_size, generator)]
        h_NC = y_NM @ E_MC
        error = ((y_NM - h_NC @ B_CM).square() * weights_M).sum(1).mean()
        violation = h_NC.abs().sum(1).mean() / bound - 1
        adam.param_groups[0]["lr"] = settings.rate(step)
        adam.zero_grad()
        (error + price * violation).backward()
        adam.step()
        price = max(0.0, price + settings.dual.dual_lr * float(violation.detach()))
        with torch.no_grad():
            B_CM /= B_CM.norm(dim=1, keepdim=True)
    return Columns(E_RMC=E_MC.detach()[None], B_RCM=B_CM.detach()[None], price_R=torch.tensor([price]))


def draw(n_pairs: int, batch_size: int, generator: torch.Generator) -> Tensor:
    """The pairs of a step."""
    if n_pairs <= batch_size:
        return torch.arange(n_pairs)
    return torch.randint(n_pairs, (batch_size,), generator=generator)
