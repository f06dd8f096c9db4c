"""The way out: norm and unembedding give the network's own logits."""

import pytest
import torch
from tiny import ARCHITECTURES, D_MODEL, N_LAYERS, N_VOCABULARY, tiny_model

from bathyscope.errors import ModelError
from bathyscope.models.hooks import run
from bathyscope.models.unembed import final_norm, unembedding

TOKENS_BS = torch.tensor([[257, 72, 101, 108]])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_norm_and_unembedding_of_the_last_block_give_the_logits(architecture):
    model = tiny_model(architecture)
    assert unembedding(model).shape == (N_VOCABULARY, D_MODEL)
    (last_BSD,) = run(model, TOKENS_BS, f"blocks.{N_LAYERS - 1}.hook_resid_post").values()
    with torch.no_grad():
        expected = model.network(input_ids=TOKENS_BS).logits
        logits_BSV = final_norm(model)(last_BSD) @ unembedding(model).T
    torch.testing.assert_close(logits_BSV, expected, rtol=1e-5, atol=1e-4)


def test_a_body_without_a_known_norm_is_named(tiny_model):
    del tiny_model.body.norm
    with pytest.raises(ModelError, match="has no final norm among embed_tokens, layers"):
        final_norm(tiny_model)
