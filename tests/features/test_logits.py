"""Logit tokens against the plain product, and on a direction that is a token's own row."""

import numpy as np
import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.features import logits
from bathyscope.features.logits import logit_tokens, through_final_norm
from bathyscope.models.unembed import final_norm, unembedding


@pytest.mark.parametrize("architecture", ["llama", "gpt2"])
@pytest.mark.parametrize("chunk", [1, 1 << 24])
def test_tokens_are_those_of_the_normed_direction(monkeypatch, architecture, chunk):
    monkeypatch.setattr(logits, "CHUNK_LOGITS", chunk)
    model = tiny_model(architecture)
    directions = torch.randn(7, D_MODEL, generator=torch.Generator().manual_seed(0))
    found = logit_tokens(model, directions, n=4)
    units = directions / directions.norm(dim=1, keepdim=True) * D_MODEL**0.5
    plain = (final_norm(model)(units) @ unembedding(model).T).numpy()
    order = np.argsort(-plain, axis=1)
    assert np.array_equal(found.top_tokens, order[:, :4])
    assert np.array_equal(found.bottom_tokens, order[:, ::-1][:, :4])
    assert np.allclose(found.top_logits, np.take_along_axis(plain, order[:, :4], 1), atol=1e-4)
    assert np.allclose(found.bottom_logits, np.take_along_axis(plain, order[:, ::-1][:, :4], 1), atol=1e-4)


def test_the_length_of_a_direction_does_not_matter():
    model = tiny_model()
    direction = torch.randn(1, D_MODEL, generator=torch.Generator().manual_seed(1))
    small, large = through_final_norm(model, direction * 1e-3), through_final_norm(model, direction * 1e3)
    torch.testing.assert_close(small, large)


def test_a_direction_along_a_tokens_row_raises_that_token_most():
    model = tiny_model()
    with torch.no_grad():
        final_norm(model).weight.fill_(1.0)
        rows = torch.nn.functional.normalize(unembedding(model), dim=1)
        unembedding(model).copy_(rows)
    found = logit_tokens(model, rows[[5, 99]], n=1)
    assert found.top_tokens.ravel().tolist() == [5, 99]
