"""The contract of `record`, `run` and `replace`, over every architecture."""

import pytest
import torch
from tiny import ARCHITECTURES, N_LAYERS, tiny_model
from torch import nn

from bathyscope.errors import ModelError
from bathyscope.models.forward import current_forward
from bathyscope.models.hookpoints import names
from bathyscope.models.hooks import record, replace, run

TOKENS_BS = torch.tensor([[257, 72, 101, 108, 108, 111, 32, 119], [257, 33, 44, 55, 66, 77, 88, 99]])


def blocks_of(model):
    prefix = "h" if "h.0" in names(model) else "layers"
    return [f"{prefix}.{layer}" for layer in range(N_LAYERS)]


def forward(model, **inputs):
    with torch.no_grad():
        return model.network(input_ids=TOKENS_BS, **inputs)


def logits(model, **inputs):
    return forward(model, **inputs).logits


def residue(model):
    """Everything a hook could have left on the network."""
    hooked = [n for n, m in model.network.named_modules() if m._forward_hooks or m._forward_pre_hooks]
    return hooked + [n for n, m in model.network.named_modules() if "forward" in m.__dict__]


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_recorded_blocks_equal_output_hidden_states(architecture):
    model = tiny_model(architecture)
    blocks = blocks_of(model)
    recorded = run(model, TOKENS_BS, [*blocks, "blocks.0.hook_resid_pre"])
    with torch.no_grad():
        output = model.network(input_ids=TOKENS_BS, output_hidden_states=True)
    assert len(output.hidden_states) == N_LAYERS + 1
    for block, hidden in zip(blocks[:-1], output.hidden_states[1:-1], strict=True):
        assert torch.equal(recorded[block], hidden)
    start = next(name for name in recorded if name not in blocks)
    assert torch.equal(recorded[start], output.hidden_states[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_last_block_is_read_before_the_final_norm(architecture):
    """`hidden_states[-1]` is taken behind the norm: the trap that this room exists to avoid."""
    model = tiny_model(architecture)
    norm = names(model)[-1]
    last = blocks_of(model)[-1]
    recorded = run(model, TOKENS_BS, [last, norm])
    with torch.no_grad():
        after_norm = model.network(input_ids=TOKENS_BS, output_hidden_states=True).hidden_states[-1]
        assert torch.equal(model.body.get_submodule(norm)(recorded[last]), after_norm)
    assert torch.equal(recorded[norm], after_norm)
    assert not torch.allclose(recorded[last], after_norm, atol=0.1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_early_stop_gives_the_same_activations_and_runs_no_later_block(architecture):
    model = tiny_model(architecture)
    blocks = blocks_of(model)
    calls = []
    handles = [
        model.body.get_submodule(name).register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name in blocks
    ]
    with record(model, [blocks[1], f"{blocks[1]}.mlp", blocks[0]]) as stopped:
        forward(model)
        forward(model)
    assert calls == blocks[:2] * 2
    calls.clear()
    with record(model, [blocks[1]], stop=False) as full:
        expected = logits(model)
    assert calls == blocks
    for handle in handles:
        handle.remove()
    assert torch.equal(stopped[blocks[1]], full[blocks[1]])
    assert torch.equal(expected, logits(model))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replacing_every_activation_by_itself_leaves_the_logits_bit_identical(architecture):
    model = tiny_model(architecture)
    expected = logits(model)
    with replace(model, {"**": lambda x_BSD: x_BSD}):
        assert torch.equal(logits(model), expected)
    with replace(model, {"**": torch.clone}):
        assert torch.equal(logits(model), expected)
    with replace(model, {"**": lambda x_BSD: None}):
        assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_replaced_activation_is_what_the_rest_of_the_network_sees(architecture):
    """Block 1 of one text put into the run of another: everything behind it is the first text's."""
    model = tiny_model(architecture)
    other_BS = TOKENS_BS.flip(0)
    block = blocks_of(model)[1]
    donor = run(model, other_BS, block)[block]
    with torch.no_grad():
        expected = model.network(input_ids=other_BS).logits
    with replace(model, {block: lambda x_BSD: donor}):
        assert torch.equal(logits(model), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cached_steps_pass_the_hooks_with_the_activations_of_the_full_text(architecture):
    model = tiny_model(architecture)
    block = blocks_of(model)[-1]
    whole_BSD = run(model, TOKENS_BS, block)[block]
    cache, parts, lengths = None, [], []
    with replace(model, {block: lambda x_BSD: lengths.append(current_forward().past_length)}):
        with record(model, block, stop=False) as recorded, torch.no_grad():
            for piece in TOKENS_BS.split([5, 1, 1, 1], dim=1):
                cache = model.network(input_ids=piece, past_key_values=cache, use_cache=True).past_key_values
                parts.append(recorded[block])
    assert lengths == [0, 5, 6, 7]
    assert [part.shape[1] for part in parts] == [5, 1, 1, 1]
    torch.testing.assert_close(torch.cat(parts, dim=1), whole_BSD, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_nothing_stays_on_the_network_after_an_exception(architecture):
    model = tiny_model(architecture)
    expected = logits(model)
    block = blocks_of(model)[1]

    def refuse(x_BSD):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        with record(model, "**"), replace(model, {block: refuse}):
            forward(model)
    assert residue(model) == []
    assert torch.equal(logits(model), expected)
    with pytest.raises(ModelError, match="no forward is running"):
        current_forward()


def test_a_forward_set_on_the_network_by_others_is_given_back(tiny_model):
    own = tiny_model.network.forward
    tiny_model.network.forward = own
    with record(tiny_model, "layers.0"):
        forward(tiny_model)
    assert tiny_model.network.__dict__["forward"] is own


def test_replacements_act_in_order_of_entry(tiny_model):
    plain = run(tiny_model, TOKENS_BS, "layers.1")["layers.1"]
    double, plus_one = {"layers.1": lambda x: x * 2}, {"layers.1": lambda x: x + 1}
    with replace(tiny_model, double), replace(tiny_model, plus_one):
        assert torch.equal(run(tiny_model, TOKENS_BS, "layers.1")["layers.1"], plain * 2 + 1)
    with replace(tiny_model, plus_one), replace(tiny_model, double):
        assert torch.equal(run(tiny_model, TOKENS_BS, "layers.1")["layers.1"], (plain + 1) * 2)
    both = {"layers.1": double["layers.1"], "blocks.1.hook_resid_post": plus_one["layers.1"]}
    with replace(tiny_model, both):
        assert torch.equal(run(tiny_model, TOKENS_BS, "layers.1")["layers.1"], plain * 2 + 1)


def test_a_recording_sees_the_replacements_entered_before_it(tiny_model):
    plain = run(tiny_model, TOKENS_BS, "layers.1")["layers.1"]
    with record(tiny_model, "layers.1", stop=False) as before:
        with replace(tiny_model, {"layers.1": lambda x: -x}):
            with record(tiny_model, "layers.1", stop=False) as after:
                logits(tiny_model)
    assert torch.equal(before["layers.1"], plain)
    assert torch.equal(after["layers.1"], -plain)


def test_nested_recordings_stop_when_all_have_what_they_want(tiny_model):
    calls = []
    names(tiny_model)  # the dry run passes every block
    handle = tiny_model.body.get_submodule("layers.2").register_forward_pre_hook(lambda *_: calls.append(2))
    with record(tiny_model, "layers.1") as outer, record(tiny_model, "layers.0") as inner:
        logits_missing = tiny_model.network(input_ids=TOKENS_BS)
    handle.remove()
    assert (list(outer), list(inner), calls) == (["layers.1"], ["layers.0"], [])
    with pytest.raises(ModelError, match=r"has no 'logits'; use record\(stop=False\)"):
        _ = logits_missing.logits


def test_a_recording_that_must_not_stop_keeps_the_others_going(tiny_model):
    with record(tiny_model, "layers.0", stop=False), record(tiny_model, "layers.0"):
        assert logits(tiny_model).shape == (2, 8, 260)


def test_a_recording_holds_the_last_forward_alone(tiny_model):
    with record(tiny_model, "layers.0") as recorded:
        tiny_model.network(input_ids=TOKENS_BS)
        tiny_model.network(input_ids=TOKENS_BS[:1, :3])
    assert recorded["layers.0"].shape == (1, 3, 32)


def test_calling_the_body_itself_records_without_stopping(tiny_model):
    with record(tiny_model, "layers.0") as recorded, torch.no_grad():
        output = tiny_model.body(input_ids=TOKENS_BS)
    assert output.last_hidden_state.shape == recorded["layers.0"].shape


def test_bfloat16_is_recorded_and_replaced_as_it_is():
    model = tiny_model("gemma3")
    model.network.to(torch.bfloat16)
    expected = logits(model)
    assert run(model, TOKENS_BS, "layers.1")["layers.1"].dtype == torch.bfloat16
    with replace(model, {"layers.1": torch.clone}):
        assert torch.equal(logits(model), expected)
    with pytest.raises(ModelError, match=r"layers.1 returned torch.float32 \(2, 8, 32\), expected torch.bfloat16"):
        with replace(model, {"layers.1": lambda x_BSD: x_BSD.float()}):
            logits(model)


def test_a_replacement_of_another_shape_is_refused(tiny_model):
    with pytest.raises(ModelError, match=r"returned torch.float32 \(2, 8, 31\), expected torch.float32 \(2, 8, 32\)"):
        with replace(tiny_model, {"layers.1": lambda x_BSD: x_BSD[..., 1:]}):
            logits(tiny_model)


def test_what_else_a_module_returns_stays(tiny_model):
    """An attention module returns (activation, weights): the weights must survive a replacement."""
    tiny_model.network.set_attn_implementation("eager")
    seen = []
    module = tiny_model.body.get_submodule("layers.1.self_attn")
    with replace(tiny_model, {"layers.1.self_attn": torch.zeros_like}):
        handle = module.register_forward_hook(lambda _m, _i, output: seen.append(output))
        logits(tiny_model)
        handle.remove()
    activation, weights = seen[0]
    assert not activation.any()
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 4, 8))


def test_gradients_flow_through_what_was_recorded(tiny_model):
    """Attribution needs it: d(sum of logits) / d(activation) through a replaced activation."""
    start = run(tiny_model, TOKENS_BS, "layers.1")["layers.1"].requires_grad_()
    with replace(tiny_model, {"layers.1": lambda x_BSD: start}):
        with record(tiny_model, "layers.2", stop=False) as recorded:
            tiny_model.network(input_ids=TOKENS_BS).logits.sum().backward()
    assert recorded["layers.2"].requires_grad
    assert start.grad is not None
    assert bool((start.grad != 0).any())


def test_the_running_forward_says_which_tokens_pass(tiny_model):
    mask_BS = torch.ones_like(TOKENS_BS)
    seen = []
    with replace(tiny_model, {"layers.0": lambda x_BSD: seen.append(current_forward())}):
        logits(tiny_model, attention_mask=mask_BS)
        with torch.no_grad():
            tiny_model.network(TOKENS_BS)
    assert seen[0].tokens_BS is TOKENS_BS
    assert seen[0].attention_mask is mask_BS
    assert seen[1].tokens_BS is TOKENS_BS
    assert seen[1].attention_mask is None


def test_no_hookpoint_at_all_is_refused(tiny_model):
    with pytest.raises(ModelError, match="no hookpoint was given"):
        run(tiny_model, TOKENS_BS, [])


def test_unknown_hookpoints_are_refused_before_anything_is_hooked(tiny_model):
    with pytest.raises(ModelError, match=r"no hookpoint 'layers\.9'"):
        with replace(tiny_model, {"layers.0": torch.clone, "layers.9": torch.clone}):
            pass
    assert residue(tiny_model) == []
    assert isinstance(tiny_model.network, nn.Module)
