"""Replacing a layer: known losses on a tiny model."""

import numpy as np
import pytest
import torch
from tiny import tiny_model

from bathyscope.evaluation.segments import SegmentBatch
from bathyscope.evaluation.splice import splice_losses

BOS = 257


@pytest.fixture
def model():
    return tiny_model()


def batch() -> SegmentBatch:
    """Two rows of 9 and 6 tokens, the shorter padded; BOS has no stored activation."""
    generator = torch.Generator().manual_seed(0)
    tokens_BS = torch.randint(0, 256, (2, 9), generator=generator)
    tokens_BS[:, 0] = BOS
    mask_BS = torch.ones_like(tokens_BS)
    mask_BS[1, 6:] = 0
    kept_BS = mask_BS.bool() & (tokens_BS != BOS)
    return SegmentBatch(tokens_BS=tokens_BS, mask_BS=mask_BS, kept_BS=kept_BS, documents_B=np.array([4, 7]))


def test_clean_losses_are_the_cross_entropy_of_the_unpadded_rows(model):
    sums = splice_losses(model, "layers.1", batch(), {})["clean"]
    for row, length in ((0, 9), (1, 6)):
        tokens = batch().tokens_BS[row : row + 1, :length]
        logits = model.network(tokens).logits[0, :-1]
        expected = torch.nn.functional.cross_entropy(logits, tokens[0, 1:], reduction="sum")
        assert sums[row, 0] == pytest.approx(float(expected), rel=1e-5)
        assert sums[row, 1] == 0
        assert sums[row, 2] == length - 1


def test_replacing_by_itself_changes_nothing(model):
    sums = splice_losses(model, "layers.1", batch(), {"same": lambda x_ND: x_ND})
    assert np.array_equal(sums["same"][:, 0], sums["clean"][:, 0])
    assert np.abs(sums["same"][:, 1]).max() < 1e-5


def test_zeroing_is_worse_than_clean_in_kl_and_only_kept_tokens_are_replaced(model):
    seen = []

    def zero(x_ND):
        seen.append(len(x_ND))
        return torch.zeros_like(x_ND)

    sums = splice_losses(model, "layers.1", batch(), {"zeroed layer": zero})
    assert seen == [8 + 5]
    assert (sums["zeroed layer"][:, 1] > 0.01).all()


def test_kl_is_clean_relative_to_arm(model):
    sums = splice_losses(model, "layers.1", batch(), {"half": lambda x_ND: 0.5 * x_ND})
    tokens = batch().tokens_BS[:1]

    def halve(_module, _inputs, output):
        output = output[0] if isinstance(output, tuple) else output
        halved = 0.5 * output
        halved[:, 0] = output[:, 0]
        return halved

    log_p = model.network(tokens).logits[0, :-1].log_softmax(-1)
    handle = model.body.layers[1].register_forward_hook(halve)
    log_q = model.network(tokens).logits[0, :-1].log_softmax(-1)
    handle.remove()
    assert sums["half"][0, 1] == pytest.approx(float((log_p.exp() * (log_p - log_q)).sum()), rel=1e-4)
