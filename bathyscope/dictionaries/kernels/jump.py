"""The jump of JumpReLU with straight-through gradients (Rajamanoharan et al. 2024, arXiv 2407.14435), on any shape.

c = pre·1[pre > θ],  s = 1[pre > θ],  K = 1[|pre - θ| < ε/2]
∂c/∂θ = -(θ/ε)·K,  ∂s/∂θ = -(1/ε)·K,  ∂c/∂pre = s (+ (θ/ε)·K),  ∂s/∂pre = 0 (+ (1/ε)·K)
K looks at pre-activations, on both sides of the threshold: what lies below it has no code, but has a say.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd.function import once_differentiable

from bathyscope.dictionaries.kernels.engine import engine
from bathyscope.dictionaries.kernels.rows import by_feature, gather_tokens


class Jumped(NamedTuple):
    """What lies above its threshold."""

    codes: Float[Tensor, "..."]
    """pre·1[pre > θ]."""
    steps: Float[Tensor, "..."]
    """1[pre > θ]: its sum is the number of active features."""


def jump(pre: Float[Tensor, "*n K"], threshold: Float[Tensor, "*m K"], *, bandwidth: float, to_inputs: bool) -> Jumped:
    """Codes and steps with gradients to `threshold` and `pre`; `to_inputs` adds the terms in brackets.

    `threshold` has the shape of `pre`, or one entry per column. Where `pre` is -inf (padding) all gradients are 0.
    """
    return Jumped(*_Jump.apply(pre, threshold, bandwidth, to_inputs))


class _Jump(torch.autograd.Function):
    """Straight-through gradients cannot be had by composing differentiable functions of the forward pass."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float, to_inputs: bool) -> tuple[Tensor, Tensor]:
        is_above = ~(pre <= threshold)  # NaN shows
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth, ctx.to_inputs = bandwidth, to_inputs
        return torch.where(is_above, pre, 0), is_above.to(pre.dtype)

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        pre, threshold = ctx.saved_tensors
        to_codes, to_steps = gradients
        near = (pre - threshold).abs() < ctx.bandwidth / 2
        through = torch.where(near, (threshold * to_codes + to_steps) / ctx.bandwidth, 0)
        grad_pre = torch.where(pre <= threshold, 0, to_codes)
        if ctx.to_inputs:
            grad_pre = grad_pre + through
        grad_threshold = -(through.flatten(0, -2).sum(0) if threshold.ndim < pre.ndim else through)
        return grad_pre.to(pre.dtype), grad_threshold.to(threshold.dtype), None, None


def at_features(of_F: Float[Tensor, " F"], indices_NK: Int[Tensor, "N K"]) -> Float[Tensor, "N K"]:
    """`of_F[indices_NK]`, whose gradient is summed in one fixed order: equal runs give equal bytes."""
    return _AtFeatures.apply(of_F, indices_NK)


class _AtFeatures(torch.autograd.Function):
    """Autograd's own backward of indexing adds in the order in which threads get there."""

    @staticmethod
    def forward(ctx: Any, of_F: Tensor, indices_NK: Tensor) -> Tensor:
        ctx.save_for_backward(indices_NK)
        ctx.n_features = len(of_F)
        return of_F[indices_NK]

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride]
        ctx: Any, *gradients: Tensor
    ) -> tuple[Tensor | None, ...]:
        (indices_NK,) = ctx.saved_tensors
        (gradient_NK,) = gradients
        if engine(gradient_NK) == "triton":
            pairs = by_feature(gradient_NK, indices_NK, ctx.n_features)
            return gather_tokens(pairs, gradient_NK, gradient_NK.new_ones(len(gradient_NK), 1)).flatten(), None
        weights = gradient_NK.flatten().double()
        sums_F = torch.bincount(indices_NK.flatten(), weights=weights, minlength=ctx.n_features)
        return sums_F.to(gradient_NK.dtype), None
