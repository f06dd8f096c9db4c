"""Logits at some positions only: those of a whole batch of long rows can be larger than the model."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from bathyscope.models.model import Model


def keeps_logits(model: Model) -> bool:
    """Whether the network can be asked for the logits of some positions alone (`logits_to_keep`)."""
    return "logits_to_keep" in inspect.signature(model.network.forward).parameters


def logits_at(model: Model, inputs: Mapping[str, Any], spans: Sequence[tuple[int, int]]) -> list[Float[Tensor, "_ V"]]:
    """For each row the logits at positions `first` to `last - 1` of its span, float32, of one forward of `inputs`.

    Computed at the positions that any row asks for. Keeps the gradient graph; works inside steering blocks.
    """
    positions = sorted({position for first, last in spans for position in range(first, last)})
    if keeps_logits(model):
        kept = torch.tensor(positions, device=model.device)
        logits_BPV = model.network(**inputs, use_cache=False, logits_to_keep=kept).logits
    else:
        logits_BPV = model.network(**inputs, use_cache=False).logits[:, positions]
    place = {position: number for number, position in enumerate(positions)}
    return [
        logits_PV[[place[position] for position in range(*span)]].float()
        for span, logits_PV in zip(spans, logits_BPV, strict=True)
    ]
