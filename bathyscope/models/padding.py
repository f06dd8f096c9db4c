"""Token rows of unequal length as one batch, with the mask and positions that make padding invisible."""

from collections.abc import Sequence
from typing import Any, Literal

import torch

from bathyscope.errors import ConfigError
from bathyscope.models.model import Model


def padded_inputs(
    model: Model, rows: Sequence[Sequence[int]], *, side: Literal["left", "right"] = "left"
) -> dict[str, Any]:
    """Keyword inputs for the network (`input_ids`, `attention_mask`, `position_ids`, all [B, S]) on the model's device.

    Real tokens get the positions 0, 1, … on either side, so their activations equal those of the row alone up to
    rounding; activations at padded positions are garbage.
    """
    if not rows or not all(len(row) for row in rows):
        raise ConfigError("a batch needs at least one row, and each row at least one token")
    length = max(map(len, rows))
    tokens_BS = torch.full((len(rows), length), padding_token(model))
    mask_BS = torch.zeros(len(rows), length, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(length - len(row), length)
        tokens_BS[number, place] = torch.tensor(list(row))
        mask_BS[number, place] = 1
    positions_BS = (mask_BS.cumsum(1) - 1).clamp(min=0)
    inputs = {"input_ids": tokens_BS, "attention_mask": mask_BS, "position_ids": positions_BS}
    return {name: tensor.to(model.device) for name, tensor in inputs.items()}


def padding_token(model: Model) -> int:
    """The tokenizer's padding token, else its end token, else 0: the network never looks at it."""
    for token in (model.tokenizer.pad_token_id, model.tokenizer.eos_token_id):
        if isinstance(token, int):
            return token
    return 0
