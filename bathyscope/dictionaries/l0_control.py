"""Bringing the mean number of active features (L0) to a target while a dictionary learns, by what a feature costs.

e = log(L0 / L*(t)) within ±½,   I ← I + G · Δt · e,   t the share of the run that is done
L*(t) = L₀^(1-t/w) · L*^(t/w) until t = w, then L*:  the target comes down from where the dictionary began, L₀

A kind whose penalty has a weight λ uses `λ · exp(I + P · e)`; JumpReLU adds `I` as the price of a feature to a
quadratic penalty of its own. The integral is what makes the error vanish: it grows until the target is met. A step
counts by its share of the run, so that short and long runs are controlled alike. All state is in buffers: a resumed run
goes on bit for bit, and nothing waits for the device.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from bathyscope.dictionaries.trainee import Loss
from bathyscope.errors import ConfigError

START_ROWS = 1024
"""Rows of the sample from which thresholds start."""
START_L0, USUAL_L0 = 4, 32
"""L0 at the start in multiples of the target, or of USUAL_L0: features find their place before they are priced out."""
AVERAGING = 0.1
"""Share of a batch in the running mean of L0."""
GAIN, PROPORTION = 40.0, 0.5
"""G and P where the weight of a penalty is controlled."""
L0_ANNEAL = 0.5
"""w, unless a kind is told otherwise: the share over which BatchTopK's k falls too (measured: docs/recovery.md)."""
MOST = 7.0
"""Largest |I| there: λ stays within a factor of 1,000."""
LONGEST_STEP = 0.001
"""Most of the run that one step counts for there: L0 follows λ over tens of steps, and faster control would swing."""


def weight_control(l0: int | None, l0_anneal: float) -> "L0Control | None":
    """The control of a penalty's weight, None when there is no target."""
    return None if l0 is None else L0Control(l0, gain=GAIN, share=l0_anneal, limit=MOST, longest_step=LONGEST_STEP)


def weight_factor(control: "L0Control | None", progress: float) -> Float[Tensor, ""] | float:
    """`exp(I + P · e)`, by which a penalty's weight is multiplied; 1 without a control."""
    if control is None:
        return 1.0
    at = torch.full_like(control.l0, progress)
    return (control.integral + PROPORTION * control.error(at)).exp()


def check_target(l0: int | None, l0_anneal: float, n_features: int, *, l1: float = 1.0) -> None:
    """Raise ConfigError for a target that no dictionary of `n_features` can meet, or no weight `l1` to begin from."""
    if not 0 <= l0_anneal <= 1:
        raise ConfigError(f"l0_anneal is {l0_anneal}: expected a share of the run from 0 to 1")
    if l0 is not None and not 0 < l0 < n_features:
        raise ConfigError(f"l0 is {l0}: expected a target from 1 to below n_features = {n_features}, or None")
    if l0 is not None and l1 == 0:
        raise ConfigError("l1 is 0, where l0 needs a weight to begin from: leave it at its default")


def threshold_at(
    x_ND: Float[Tensor, "N D"],
    b_dec_D: Float[Tensor, " D"],
    W_enc_FD: Float[Tensor, "F D"],
    *,
    target: int | None,
    below: float = 0.0,
) -> tuple[float, Float[Tensor, ""]]:
    """The one threshold θ ≥ 0 at which L0 is a multiple of the target, and L0 at θ - `below`, from a sample.

    From half of all features active, which is what biases of 0 give, an overcomplete dictionary of unit rows begins far
    off and is thrown about by the first steps.
    """
    n_active = min(START_L0 * (target or USUAL_L0), len(W_enc_FD) // 2)
    rows_ND = x_ND[:: -(-len(x_ND) // START_ROWS)]
    with torch.no_grad():
        pre_NF = (rows_ND - b_dec_D.to(x_ND)) @ W_enc_FD.T.to(x_ND)
        threshold = pre_NF.flatten().topk(max(1, n_active * len(rows_ND))).values[-1].clamp_min(0)
        return float(threshold), (pre_NF > threshold - below).sum() / len(rows_ND)


class L0Control(nn.Module):
    """A running mean of L0 and the integral of its distance from the target."""

    integral: Float[Tensor, ""]
    """I, sum of errors so far."""
    l0: Float[Tensor, ""]
    """Running mean of the batches' L0; 0 before the first one."""
    begin: Float[Tensor, ""]
    """L₀, where the target starts; 0 until the first batch has been seen."""
    progress: Float[Tensor, ""]
    """Share of the run up to the last step."""

    def __init__(self, target: int, *, gain: float, share: float, limit: float, longest_step: float) -> None:
        """`gain` is G, `share` is w, `limit` the largest |I|, `longest_step` the largest Δt."""
        super().__init__()
        self.target, self.gain, self.share = float(target), gain, share
        self.limit, self.longest_step = limit, longest_step
        for name in ("integral", "l0", "begin", "progress"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float32))

    def wanted(self, progress: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """L*(t): the target now."""
        share = (progress / self.share).clamp(0, 1) if self.share > 0 else torch.ones_like(progress)
        begin = torch.where(self.begin > 0, self.begin, self.target)
        return begin ** (1 - share) * self.target**share

    def error(self, progress: Float[Tensor, ""]) -> Float[Tensor, ""]:
        """e of the running mean, 0 before the first batch."""
        ratio = torch.where(self.l0 > 0, self.l0 / self.wanted(progress), 1.0)
        return ratio.log().clamp(-0.5, 0.5)

    def update(self, loss: Loss) -> None:
        """Take in a step whose loss recorded `seen_by`."""
        l0, progress = loss.seen["l0"].clamp_min(1e-3), loss.seen["progress"]
        self.begin.copy_(torch.where(self.begin > 0, self.begin, l0))
        self.l0.copy_(torch.where(self.l0 > 0, self.l0.lerp(l0, AVERAGING), l0))
        step = (progress - self.progress).clamp(0, self.longest_step)
        self.progress.copy_(progress)
        self.integral.copy_((self.integral + self.gain * step * self.error(progress)).clamp(-self.limit, self.limit))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "L0Control":
        """Move with the module, but stay float32 when it is cast: a sum of small steps stands still in bfloat16."""
        before = dict(self.named_buffers())
        super()._apply(fn, recurse)
        restore_formats(self, before)
        return self


def restore_formats(module: nn.Module, before: dict[str, Tensor]) -> None:
    """Give a module's buffers back the values and number formats that they had, on the device where they are now."""
    for name, buffer in before.items():
        setattr(module, name, buffer.to(getattr(module, name).device))


def seen_by(fires_F: Int[Tensor, " F"], n_tokens: int, progress: float) -> dict[str, Tensor]:
    """What a loss records for the control: the batch's L0 and when it was."""
    l0 = fires_F.sum().float() / max(n_tokens, 1)
    return {"l0": l0, "progress": torch.full_like(l0, progress)}
