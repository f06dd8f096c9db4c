"""Going on from a hookpoint: the very logits of a whole forward, over every architecture, and nothing stays behind."""

import pytest
import torch
from tiny import ARCHITECTURES, tiny_model

from bathyscope.errors import ModelError
from bathyscope.models.hookpoints import names
from bathyscope.models.hooks import replace
from bathyscope.models.onward import passed_blocks, recording, replaying

TOKENS_BS = torch.tensor([[257, 72, 101, 108, 108, 111, 32, 119], [257, 33, 44, 55, 66, 256, 256, 256]])
MASK_BS = (TOKENS_BS != 256).long()


def logits(model):
    with torch.inference_mode():
        return model.network(input_ids=TOKENS_BS, attention_mask=MASK_BS, use_cache=False).logits


def hookpoints(model):
    prefix = "h" if "h.0" in names(model) else "layers"
    inner = next(name for name in names(model) if name.startswith(f"{prefix}.1.") and name.endswith("mlp"))
    return [f"{prefix}.0", f"{prefix}.1", f"{prefix}.2", inner]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_logits_are_those_of_a_whole_forward(architecture):
    model = tiny_model(architecture)
    for hookpoint in hookpoints(model):
        passed = passed_blocks(model, hookpoint)
        with recording(passed):
            clean = logits(model)
        with replaying(passed):
            assert torch.equal(logits(model), clean)
        with replace(model, {hookpoint: lambda x_BSD: 0.5 * x_BSD}):
            whole = logits(model)
            with replaying(passed):
                assert torch.equal(logits(model), whole), hookpoint
        assert not torch.equal(whole, clean)
        assert torch.equal(logits(model), clean), "the network is as before"


def test_the_blocks_before_are_not_run():
    model = tiny_model()
    ran = []
    for number, block in enumerate(model.body.layers):
        block.mlp.register_forward_hook(lambda *_, number=number: ran.append(number))
    passed = passed_blocks(model, "layers.1")
    with recording(passed):
        logits(model)
    ran.clear()
    with replaying(passed):
        logits(model)
    assert ran == [2]


def test_inside_a_block_only_the_ones_before_it_are_passed():
    model = tiny_model()
    assert len(passed_blocks(model, "layers.1").blocks) == 2
    assert len(passed_blocks(model, "layers.1.mlp").blocks) == 1
    assert passed_blocks(model, "layers.0.mlp").blocks == [] == passed_blocks(model, "embed_tokens").blocks


def test_the_network_is_restored_after_an_exception():
    model = tiny_model()
    passed = passed_blocks(model, "layers.1")
    with pytest.raises(ModelError, match="nothing was recorded"), replaying(passed):
        pass
    with recording(passed):
        logits(model)
    with pytest.raises(KeyboardInterrupt), replaying(passed):
        raise KeyboardInterrupt
    assert all("forward" not in module.__dict__ and not module._forward_hooks for module in model.network.modules())
