"""Rows that hold several documents which never see each other.

No mask is built here: the networks of transformers themselves build a block-diagonal one (inside each layer's sliding
window, too) when position ids restart, no mask is given and no cache is kept. `require_packing` checks that on the
model at hand, because an architecture that does not know the rule would mix documents without a word.
"""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from bathyscope.errors import ModelError
from bathyscope.models.model import Model

PADDING = -1
"""Segment number of padding."""


def packed_inputs(tokens_BS: Int[Tensor, "B S"], segments_BS: Int[Tensor, "B S"]) -> dict[str, Any]:
    """Keyword inputs for the network in which each run of equal segment numbers in a row is a document of its own.

    Positions count from 0 in every document. Padding (`PADDING`, anywhere in the row) is a run like any other: real
    tokens never see it, its activations are garbage. Rows that are one document each give plain inputs (the fastest).
    """
    begins_BS = torch.ones_like(segments_BS, dtype=torch.bool)
    begins_BS[:, 1:] = segments_BS[:, 1:] != segments_BS[:, :-1]
    inputs: dict[str, Any] = {"input_ids": tokens_BS, "use_cache": False}
    if bool(begins_BS[:, 1:].any()):
        places_BS = torch.arange(tokens_BS.shape[1], device=tokens_BS.device).expand_as(tokens_BS)
        starts_BS = torch.where(begins_BS, places_BS, 0).cummax(dim=1).values
        inputs["position_ids"] = places_BS - starts_BS
    return inputs


def require_packing(model: Model, *, tolerance: float = 1e-3) -> None:
    """Raise ModelError when packed documents of `model` differ from separate ones (two forwards of 8 tokens).

    `tolerance` is relative to the largest logit of the separate documents (fp32 agrees to about 1e-6).
    """
    tokens_BS = torch.arange(1, 9, device=model.device)[None] % model.n_vocabulary
    segments_BS = torch.tensor([[0, 0, 0, 0, 0, 1, 1, 1]], device=model.device)
    packed_SV = _logits(model, packed_inputs(tokens_BS, segments_BS))[5:]
    alone_SV = _logits(model, packed_inputs(tokens_BS[:, 5:], segments_BS[:, 5:]))
    allowed = max(tolerance, 4 * torch.finfo(model.dtype).eps) * float(alone_SV.abs().max())
    if not bool((packed_SV - alone_SV).abs().max() <= allowed):
        raise ModelError(
            f"{model.name} ({type(model.network).__name__}) lets documents packed in one row see each other; "
            "put one document in each row instead"
        )


def _logits(model: Model, inputs: Mapping[str, Any]) -> Tensor:
    with torch.no_grad():
        return model.network(**inputs).logits[0].double()
