"""`with steer(model, operations)`: every forward and generation inside the block is steered.

Knows which tokens are moved (special tokens never are, unless asked) and in what order operations compose; the hooks
themselves live in `models.hooks`.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.forward import current_forward
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import replace
from bathyscope.models.model import Model
from bathyscope.models.prompts import special_tokens
from bathyscope.steering.operations import Operation


@dataclass(slots=True)
class Steering:
    """What a running `steer` block has done so far."""

    operations: tuple[Operation, ...]
    """The operations, in order of application."""
    n_tokens_moved: int = 0
    """Tokens whose activation was changed, counted at the first operation."""
    n_tokens_seen: int = 0
    """Tokens that passed the first operation's hookpoint, padding and special tokens included."""


@contextmanager
def steer(
    model: Model, operations: Sequence[Operation], *, skip_special: bool = True, force: bool = False
) -> Iterator[Steering]:
    """Apply `operations`, in order, to every token of every forward inside the block, prompt and generation alike.

    Special tokens (BOS, chat marks, padding) are left alone unless `skip_special` is False: they carry attention
    sinks that no dictionary was trained on. The model is unchanged after the block, exceptions included.
    Raises ConfigError for an empty list or a width that does not fit, ModelError for an unknown hookpoint or for a
    dictionary of another model (`force=True` attaches it all the same).
    """
    if not operations:
        raise ConfigError("steer needs at least one operation, found an empty list")
    state = Steering(tuple(operations))
    special = torch.tensor(sorted(special_tokens(model))) if skip_special else None
    with ExitStack() as stack:
        for rank, operation in enumerate(operations):
            hookpoint = _attach_point(model, operation, force=force)
            stack.enter_context(replace(model, {hookpoint: _Mover(operation, state, special, counts=rank == 0)}))
        yield state


@dataclass(slots=True)
class _Mover:
    """The replacement function of one operation."""

    operation: Operation
    state: Steering
    special: Tensor | None
    counts: bool

    def __call__(self, x_BSD: Float[Tensor, "B S D"]) -> Float[Tensor, "B S D"]:
        x_ND = x_BSD.flatten(0, 1)
        delta_ND = self.operation.delta(x_ND.float())
        mask_N = _movable(self.special)
        if mask_N is not None:
            delta_ND = torch.where(mask_N[:, None], delta_ND, torch.zeros_like(delta_ND))
        if self.counts:
            self.state.n_tokens_seen += len(x_ND)
            self.state.n_tokens_moved += int((delta_ND != 0).any(1).sum())
        return (x_ND + delta_ND.to(x_ND.dtype)).view_as(x_BSD)


def _movable(special: Tensor | None) -> Bool[Tensor, " N"] | None:
    """Which of the B·S passing tokens may be moved; None for all of them."""
    tokens_BS = current_forward().tokens_BS
    if special is None or tokens_BS is None:
        return None
    return ~torch.isin(tokens_BS.flatten(), special.to(tokens_BS.device))


def _attach_point(model: Model, operation: Operation, *, force: bool) -> str:
    (hookpoint,) = resolve(model, operation.hookpoint)
    trained_on = operation.model_identity
    if trained_on is not None and _weights(trained_on) != _weights(model.identity) and not force:
        raise ModelError(
            f"the dictionary was trained on {trained_on.get('name')} ({_weights(trained_on)[:12]}), this model is "
            f"{model.identity.get('name')} ({_weights(model.identity)[:12]}); pass force=True to attach it all the same"
        )
    probe_ND = torch.zeros(1, width(model, hookpoint))
    try:
        operation.delta(probe_ND)
    except RuntimeError as error:
        raise ConfigError(f"the operation does not fit {hookpoint} of width {probe_ND.shape[1]}: {error}") from error
    return hookpoint


def _weights(identity: Mapping[str, str]) -> str:
    """What tells one set of weights from another: a sum of the files, or a Hub revision."""
    return identity.get("sha256") or identity.get("revision") or identity.get("name", "unknown")
