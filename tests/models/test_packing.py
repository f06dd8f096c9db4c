"""Documents packed in one row equal documents on their own."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model

from bathyscope.errors import ModelError
from bathyscope.models.hookpoints import names
from bathyscope.models.hooks import run
from bathyscope.models.packing import PADDING, packed_inputs, require_packing

LENGTHS = [[7, 1, 9, 3], [12, 1, 1], [2, 14]]
"""Documents of each row; windows of sliding attention (5) are shorter than some and longer than others."""
S = 20


def packed_rows():
    """Tokens, segment numbers (padding behind) and (row, start, length) of each document."""
    generator = torch.Generator().manual_seed(3)
    tokens_BS = torch.randint(0, 256, (len(LENGTHS), S), generator=generator)
    segments_BS = torch.full((len(LENGTHS), S), PADDING)
    documents, number = [], 0
    for row, lengths in enumerate(LENGTHS):
        start = 0
        for length in lengths:
            segments_BS[row, start : start + length] = number
            documents.append((row, start, length))
            start, number = start + length, number + 1
    return tokens_BS, segments_BS, documents


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_activations_in_packed_rows_equal_those_of_separate_documents(architecture):
    model = tiny_model(architecture)
    tokens_BS, segments_BS, documents = packed_rows()
    everything = names(model)
    packed = run(model, packed_inputs(tokens_BS, segments_BS), everything)
    for row, start, length in documents:
        alone = run(model, tokens_BS[row : row + 1, start : start + length], everything)
        for name in everything:
            found = packed[name][row : row + 1, start : start + length]
            torch.testing.assert_close(
                found, alone[name], rtol=1e-5, atol=3e-5, msg=lambda text, n=name: f"{n}: {text}"
            )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_padding_before_and_between_documents_changes_nothing(architecture):
    model = tiny_model(architecture)
    tokens_BS = torch.arange(60, 72)[None]
    segments_BS = torch.tensor([[PADDING, PADDING, 0, 0, 0, PADDING, 1, 1, 1, 1, PADDING, PADDING]])
    last = names(model)[-1]
    packed = run(model, packed_inputs(tokens_BS, segments_BS), last)[last]
    for place in (slice(2, 5), slice(6, 10)):
        torch.testing.assert_close(packed[:, place], run(model, tokens_BS[:, place], last)[last], rtol=1e-5, atol=1e-5)
    assert bool(packed.isfinite().all())


def test_the_plain_causal_forward_would_have_mixed_the_documents(tiny_model):
    """The comparison above can fail: without the packing the same rows differ by far more than rounding."""
    tokens_BS, _, documents = packed_rows()
    row, start, length = documents[2]
    mixed = run(tiny_model, tokens_BS, "layers.1")["layers.1"][row : row + 1, start : start + length]
    alone = run(tiny_model, tokens_BS[row : row + 1, start : start + length], "layers.1")["layers.1"]
    assert float((mixed - alone).abs().max()) > 0.1


def test_rows_of_one_document_each_give_plain_inputs():
    tokens_BS = torch.arange(6).view(2, 3)
    inputs = packed_inputs(tokens_BS, torch.tensor([[4, 4, 4], [5, 5, 5]]))
    assert set(inputs) == {"input_ids", "use_cache"}
    assert inputs["input_ids"] is tokens_BS
    assert inputs["use_cache"] is False


def test_positions_begin_again_with_every_document():
    segments_BS = torch.tensor([[0, 0, 1, 2, 2, 2], [3, 3, 3, 3, PADDING, PADDING]])
    positions_BS = packed_inputs(torch.zeros(2, 6, dtype=torch.long), segments_BS)["position_ids"]
    assert positions_BS.tolist() == [[0, 1, 0, 0, 1, 2], [0, 1, 2, 3, 0, 1]]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_passes_the_packing_check(architecture):
    require_packing(tiny_model(architecture))


def test_a_network_that_mixes_documents_fails_the_packing_check(tiny_model):
    forward = tiny_model.network.forward
    mask_BS = torch.ones(1, 8)
    tiny_model.network.forward = lambda input_ids, **rest: forward(
        input_ids=input_ids, attention_mask=mask_BS[:, : input_ids.shape[1]], **rest
    )
    with pytest.raises(ModelError, match="lets documents packed in one row see each other"):
        require_packing(tiny_model)
