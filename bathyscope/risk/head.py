"""`Head`: the last linear map of a model, from the final norm's output to logits, as tensors.

Reads weight, bias and soft cap; a head that does anything else is found out by `require_head`, which compares.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.errors import ModelError
from bathyscope.models.model import Model
from bathyscope.models.unembed import final_norm, unembedding

TOLERANCE = 1e-4
"""Difference from the model's own logits, relative to the largest of them, that float32 may make."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Head:
    """`logits = cap(x @ weightᵀ + bias)` with `cap(l) = c·tanh(l / c)`, or no cap."""

    weight_VD: Float[Tensor, "V D"]
    """Row v reads token v, float32."""
    bias_V: Float[Tensor, " V"]
    """Added to the logits; 0 for most models."""
    soft_cap: float | None = None
    """Bound on the logits; it keeps their order."""
    hookpoint: str = ""
    """Where its inputs are read: the final norm."""

    def linear(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """Logits before the cap: the same order, and linear in x."""
        return torch.addmm(self.bias_V, x_ND, self.weight_VD.T)

    def logits(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N V"]:
        """The model's logits."""
        linear_NV = self.linear(x_ND)
        return linear_NV if self.soft_cap is None else self.soft_cap * torch.tanh(linear_NV / self.soft_cap)


def read_head(model: Model) -> Head:
    """The head of `model`, float32. Raises ModelError for a model without final norm or unembedding."""
    weight_VD = unembedding(model).detach().float()
    bias_V = getattr(model.network.get_output_embeddings(), "bias", None)  # nn.Linear has it, possibly as None
    norm = final_norm(model)
    config = model.network.config.get_text_config(decoder=True).to_dict()
    cap = config.get("final_logit_softcapping")
    return Head(
        weight_VD=weight_VD,
        bias_V=weight_VD.new_zeros(len(weight_VD)) if bias_V is None else bias_V.detach().float(),
        soft_cap=None if cap is None else float(cap),
        hookpoint=next(name for name, module in model.body.named_modules() if module is norm),
    )


def require_head(model: Model, head: Head, x_ND: Float[Tensor, "N D"], logits_NV: Float[Tensor, "N V"]) -> None:
    """Raises ModelError unless the head makes of these activations the logits that the model made of the same rows."""
    rounding = TOLERANCE if model.dtype == torch.float32 else 8 * torch.finfo(model.dtype).eps
    off = float((head.logits(x_ND.float()) - logits_NV).abs().max())
    if not off <= rounding * max(1.0, float(logits_NV.abs().max())):
        raise ModelError(
            f"{model.name} ({type(model.network).__name__}) does more to its logits than weight, bias and soft cap: "
            f"they differ by {off:.3g}; use an estimator that asks the model, such as splitting"
        )
