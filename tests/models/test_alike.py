"""Rows of the same tokens that pass a network's first blocks as one get what each gets by itself."""

import pytest
import torch
from tiny import ARCHITECTURES, D_MODEL, tiny_model

from bathyscope.models.alike import _Sharing, alike_before
from bathyscope.models.decoding import next_logits
from bathyscope.models.hookpoints import names
from bathyscope.models.hooks import replace

ROWS = [[257, 72, 101, 108], [257, 33, 44, 55, 66, 77], [257, 72, 101, 108], [257, 33, 44, 55, 66, 77], [257, 9]]
MOVES_BD = torch.randn(len(ROWS), 1, D_MODEL, generator=torch.Generator().manual_seed(0))
NEXT = ([104, 105, 106, 107, 108], [7, None, 9, 10, 11])


def logits(model, hookpoint, place):
    with replace(model, {hookpoint: lambda x_BSD: x_BSD + MOVES_BD}), alike_before(place):
        steps = next_logits(model, ROWS)
        return [next(steps), *(steps.send(tokens) for tokens in NEXT)]


def block(model, number):
    return f"{'h' if 'h.0' in names(model) else 'layers'}.{number}"


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("number", [0, 1])
def test_every_step_has_the_logits_of_rows_that_share_nothing(architecture, number):
    model = tiny_model(architecture)
    hookpoint = block(model, number)
    for found, expected in zip(logits(model, hookpoint, hookpoint), logits(model, hookpoint, None), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.network.modules())


def test_the_blocks_before_see_different_rows_alone_and_only_in_the_prompt():
    model, seen = tiny_model(), {0: [], 1: [], 2: []}
    for number, layer in enumerate(list(model.body.layers)[:3]):
        layer.mlp.register_forward_hook(lambda _m, given, _o, number=number: seen[number].append(len(given[0])))
    logits(model, "layers.1", "layers.1")
    assert {number: own[-3:] for number, own in seen.items()} == {0: [3, 5, 5], 1: [3, 5, 5], 2: [5, 5, 5]}


def test_rows_that_cannot_be_told_are_all_passed():
    """Of a tensor that holds something else than rows in front nothing is taken, and nothing of its neighbours."""
    sharing = _Sharing(3, torch.tensor([0, 1, 0]), torch.tensor([0, 1]))
    x_BSD, mask_BHSS = torch.randn(3, 4, 2), torch.zeros(3, 1, 4, 4)
    assert sharing.begin(torch.nn.Identity(), (x_BSD,), {"mask": mask_BHSS, "bias": torch.zeros(6, 4, 4)}) is None
    assert not sharing.is_shared and sharing.end(torch.nn.Identity(), (), x_BSD) is None
    (taken_USD,), named = sharing.begin(torch.nn.Identity(), (x_BSD,), {"mask": mask_BHSS, "place": torch.arange(4)})
    assert torch.equal(taken_USD, x_BSD[:2]) and named["mask"].shape[0] == 2 and len(named["place"]) == 4
    assert torch.equal(sharing.end(torch.nn.Identity(), (), taken_USD), x_BSD[[0, 1, 0]])
