"""Tokens that a direction raises and lowers most: through the final norm and the unembedding (logit lens)."""

from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import progress
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.models.model import Model
from bathyscope.models.unembed import final_norm, unembedding
from bathyscope.models.vision import Readable

CHUNK_LOGITS = 1 << 24
"""Logits held at once (64 MB in float32)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogitTokens:
    """Token ids and logits for each direction, strongest first."""

    top_tokens: Int[np.ndarray, "F n"]
    top_logits: Float[np.ndarray, "F n"]
    bottom_tokens: Int[np.ndarray, "F n"]
    """Lowest first."""
    bottom_logits: Float[np.ndarray, "F n"]


def writes_logits(model: Readable, dictionary: Dictionary) -> TypeGuard[Model]:
    """Whether directions have a way to logits of tokens: they write into the residual stream of a language model."""
    return isinstance(model, Model) and dictionary.d_model == model.d_model


def logit_tokens(model: Model, directions_FD: Float[Tensor, "F D"], *, n: int) -> LogitTokens:
    """The `n` tokens of highest and of lowest logit for each direction.

    logits = final_norm(d) @ Uᵀ, before any soft-capping (which keeps the order).
    """
    U_VD = unembedding(model).float()
    step, n = max(1, CHUNK_LOGITS // len(U_VD)), min(n, len(U_VD))
    parts = list[tuple[Tensor, ...]]()
    for start in range(0, len(directions_FD), step):
        logits_FV = through_final_norm(model, directions_FD[start : start + step]) @ U_VD.T
        top, bottom = logits_FV.topk(n, dim=1), logits_FV.topk(n, dim=1, largest=False)
        parts.append((top.indices, top.values, bottom.indices, bottom.values))
        progress.report("index: logits", min(start + step, len(directions_FD)), len(directions_FD), "features")
    top_tokens, top_logits, bottom_tokens, bottom_logits = (
        torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True)
    )
    return LogitTokens(
        top_tokens=top_tokens, top_logits=top_logits, bottom_tokens=bottom_tokens, bottom_logits=bottom_logits
    )


def through_final_norm(model: Model, directions_FD: Float[Tensor, "F D"]) -> Float[Tensor, "F D"]:
    """The directions after the final norm, in float32, on the model's device.

    They enter at length √D: the norm sees each direction alone and takes lengths away, so features compare.
    """
    units_FD = torch.nn.functional.normalize(directions_FD.detach().float(), dim=1) * directions_FD.shape[1] ** 0.5
    weight = unembedding(model)
    with torch.no_grad():
        return final_norm(model)(units_FD.to(weight.device, weight.dtype)).float()
