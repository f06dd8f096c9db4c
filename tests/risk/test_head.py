"""The head as tensors: it gives the model's own logits, or the model is refused by name."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model
from torch import nn

from bathyscope.errors import ModelError
from bathyscope.models.hooks import record
from bathyscope.models.model import Model
from bathyscope.risk.events.logit import next_logits
from bathyscope.risk.head import Head, read_head, require_head

TOKENS_BS = torch.tensor([[3, 60, 7], [9, 1, 200]])


def last(model: Model, head: Head) -> tuple[torch.Tensor, torch.Tensor]:
    """Activations and the model's logits at the last token."""
    with torch.no_grad(), record(model, head.hookpoint, stop=False) as found:
        logits_BV = next_logits(model, {"input_ids": TOKENS_BS})
    return found[head.hookpoint][:, -1], logits_BV


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_head_gives_the_models_logits(architecture):
    model = tiny_model(architecture)
    head = read_head(model)
    x_BD, logits_BV = last(model, head)
    torch.testing.assert_close(head.logits(x_BD).double(), logits_BV, rtol=1e-5, atol=1e-4)
    require_head(model, head, x_BD, logits_BV)


def test_a_bias_of_the_head_is_read():
    model = tiny_model("llama")
    model.network.lm_head.bias = nn.Parameter(torch.linspace(-3, 3, model.n_vocabulary), requires_grad=False)
    head = read_head(model)
    x_BD, logits_BV = last(model, head)
    torch.testing.assert_close(head.logits(x_BD).double(), logits_BV, rtol=1e-5, atol=1e-4)


def test_a_soft_cap_is_read_and_keeps_the_order():
    model = tiny_model("gemma3")
    model.network.config.final_logit_softcapping = 4.0
    head = read_head(model)
    x_BD, logits_BV = last(model, head)
    assert head.soft_cap == 4.0
    assert float(logits_BV.abs().max()) < 4
    torch.testing.assert_close(head.logits(x_BD).double(), logits_BV, rtol=1e-5, atol=1e-4)
    assert head.linear(x_BD).argsort(dim=1).equal(head.logits(x_BD).double().argsort(dim=1))


def test_a_model_that_does_more_to_its_logits_is_refused_by_name():
    model = tiny_model("llama")
    head = read_head(model)
    x_BD, logits_BV = last(model, head)
    with pytest.raises(ModelError, match=r"tiny-llama-0 .* does more to its logits than weight, bias and soft cap"):
        require_head(model, head, x_BD, logits_BV / 16)
