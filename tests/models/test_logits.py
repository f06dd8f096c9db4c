"""Logits at some positions are those of all positions."""

import torch
from tiny import tiny_model

from bathyscope.models.logits import logits_at
from bathyscope.models.padding import padded_inputs


def test_each_row_gets_its_own_positions_of_the_whole_forward(monkeypatch):
    model = tiny_model()
    inputs = padded_inputs(model, [[65, 66, 67, 68], [70, 71, 72]], side="right")
    with torch.no_grad():
        whole_BSV = model.network(**inputs, use_cache=False).logits
        found = logits_at(model, inputs, [(1, 4), (0, 2)])
    torch.testing.assert_close(found[0], whole_BSV[0, 1:4])
    torch.testing.assert_close(found[1], whole_BSV[1, 0:2])

    forward = model.network.forward
    monkeypatch.setattr(model.network, "forward", lambda input_ids, **others: forward(input_ids=input_ids, **others))
    with torch.no_grad():  # a network that cannot be asked for positions
        again = logits_at(model, inputs, [(1, 4), (0, 2)])
    for one, other in zip(found, again, strict=True):
        torch.testing.assert_close(one, other)
