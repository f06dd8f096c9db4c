"""Steering a whole model: no-ops are exact, edits are where they should be, nothing stays behind."""

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.generate import generate
from bathyscope.models.hooks import run
from bathyscope.steering.clause import Clause
from bathyscope.steering.gates import FeatureGate, ProbeGate
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.affine import Affine
from bathyscope.steering.operations.amplify import Amplify
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.random_direction import RandomDirection
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.positions import Positions
from bathyscope.steering.schedules import Toward
from bathyscope.steering.steer import steer, steer_rows

BOS, PLAIN = 257, [104, 101, 108, 108, 111, 32, 115, 101, 97]


@pytest.fixture
def model():
    return tiny_model()


@pytest.fixture
def dictionary(model):
    return random_dictionary(model)


def tokens() -> torch.Tensor:
    return torch.tensor([[BOS, *PLAIN]])


def logits(model) -> torch.Tensor:
    return model.network(tokens()).logits


def test_strength_zero_leaves_the_logits_bit_identical_also_after_a_real_edit(model, dictionary):
    plain = logits(model)
    with steer(model, [Clamp(dictionary, (5,), 4.0)]):
        assert not torch.equal(logits(model), plain)
    with steer(model, [Amplify(dictionary, (5,), 0.0)]):
        assert torch.equal(logits(model), plain)
    assert torch.equal(logits(model), plain)


def test_the_activation_is_moved_by_the_delta_and_special_tokens_are_not(model, dictionary):
    clamp = Clamp(dictionary, (5,), 4.0)
    plain = run(model, tokens(), "layers.1")["layers.1"][0]
    with steer(model, [clamp]) as steering:
        steered = run(model, tokens(), "layers.1")["layers.1"][0]
    expected = plain + clamp.delta(plain)
    torch.testing.assert_close(steered[1:], expected[1:])
    assert torch.equal(steered[0], plain[0])
    assert (steering.n_tokens_seen, steering.n_tokens_moved) == (10, 9)


def test_special_tokens_are_moved_when_asked(model, dictionary):
    plain = run(model, tokens(), "layers.1")["layers.1"][0]
    with steer(model, [Clamp(dictionary, (5,), 4.0)], skip_special=False):
        steered = run(model, tokens(), "layers.1")["layers.1"][0]
    assert not torch.equal(steered[0], plain[0])


def test_operations_act_in_order(model, dictionary):
    first, second = Clamp(dictionary, (5,), 4.0), Clamp(dictionary, (9,), 3.0)
    plain = run(model, tokens(), "layers.1")["layers.1"][0, 1:]
    with steer(model, [first, second]):
        steered = run(model, tokens(), "layers.1")["layers.1"][0, 1:]
    between = plain + first.delta(plain)
    torch.testing.assert_close(steered, between + second.delta(between))


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_steered_generation_is_the_same_with_and_without_cache(model, dictionary, temperature):
    with steer(model, [Clamp(dictionary, (5,), 6.0)]):
        cached = generate(model, ["hello", "a longer prompt"], max_new_tokens=12, temperature=temperature, seed=3)
        whole = generate(
            model, ["hello", "a longer prompt"], max_new_tokens=12, temperature=temperature, seed=3, use_cache=False
        )
    plain = generate(model, ["hello", "a longer prompt"], max_new_tokens=12, temperature=temperature, seed=3)
    assert cached == whole
    assert cached != plain


def test_nothing_stays_after_an_exception(model, dictionary):
    plain = logits(model)
    with pytest.raises(KeyError), steer(model, [Clamp(dictionary, (5,), 4.0)]):
        raise KeyError
    assert torch.equal(logits(model), plain)


def test_two_models_do_not_share_steering(model, dictionary):
    other = tiny_model(seed=1)
    plain = logits(other)
    with steer(model, [Clamp(dictionary, (5,), 4.0)]):
        assert torch.equal(logits(other), plain)


def test_a_dictionary_of_another_model_is_refused_unless_forced(dictionary):
    other = tiny_model(seed=1)
    clamp = Clamp(dictionary, (5,), 4.0)
    with pytest.raises(ModelError, match=r"tiny-llama-0.*tiny-llama-1"), steer(other, [clamp]):
        pass
    with pytest.raises(ModelError), steer(other, [RandomDirection(clamp, 0)]):
        pass
    with steer(other, [clamp], force=True) as steering:
        logits(other)
    assert steering.n_tokens_moved == 9


def test_a_vector_of_another_width_is_refused_before_anything_runs(model):
    with (
        pytest.raises(ConfigError, match=f"width {D_MODEL}"),
        steer(model, [Add(torch.ones(D_MODEL + 1), Strength(1.0, 1.0, "activation"), "layers.1")]),
    ):
        pass


def test_what_does_not_fit_is_refused_by_the_name_of_its_clause(model, dictionary):
    one, up = Strength(1.0, 1.0, "activation"), torch.ones(D_MODEL)
    wide, clamp = torch.ones(D_MODEL + 1), Clamp(dictionary, (5,), 4.0)
    bad = [
        (Clause(operation=Add(wide, one, "layers.1"), name="mine"), ConfigError, f"width {D_MODEL}; give vectors"),
        (Clause(operation=Add(up, one, "layers.9"), name="mine"), ModelError, r"layers\.9"),
        (Clause(operation=Add(up, one, "layers.*"), name="mine"), ModelError, "3 hookpoints; give a clause for each"),
        (Clause(operation=clamp, gate=ProbeGate(weight_D=wide, bias=0.0), name="mine"), ConfigError, "width"),
        (Clause(operation=clamp, where=Positions(tokens=(999,)), name="mine"), ConfigError, "no token 999"),
        (
            Clause(operation=clamp, where=Positions(exclude=(Positions(tokens=(999,)),)), name="mine"),
            ConfigError,
            "999",
        ),
    ]
    for clause, error, said in bad:
        with pytest.raises(error, match=rf"^clause 'mine'.*{said}"), steer(model, [clause]):
            pass


def test_a_gate_or_a_schedule_that_reads_another_model_is_refused(model, dictionary):
    push, other = Add(torch.ones(D_MODEL), Strength(1.0, 1.0, "activation"), "layers.1"), tiny_model(seed=1)
    gated = Clause(operation=push, gate=FeatureGate(dictionary=dictionary, features=(5,), least=0.2))
    led = Clause(operation=push, schedule=Toward(dictionary=dictionary, feature=5, target=1.0))
    for clause in (gated, led):
        with steer(model, [clause]):
            pass
        with pytest.raises(ModelError, match=r"the Add clause comes from tiny-llama-0"), steer(other, [clause]):
            pass
        with steer(other, [clause], force=True):
            pass


def test_roles_need_a_chat_template_and_a_prompt_without_any_is_told(model, dictionary, caplog, monkeypatch):
    clause = Clause(operation=Clamp(dictionary, (5,), 4.0), where=Positions(roles=("user",)), name="mine")
    with steer(model, [clause]) as steering:
        generate(model, ["hello"], max_new_tokens=2, chat=False)
    assert steering.n_tokens_moved == 0
    assert "no row of this prompt is a chat" in caplog.text
    caplog.clear()
    with steer(model, [clause]) as steering:
        generate(model, ["hello"], max_new_tokens=2, use_cache=False)
    assert steering.n_tokens_moved > 0 and not caplog.text
    monkeypatch.setattr(model.tokenizer, "chat_template", None)
    with pytest.raises(ModelError, match=r"^clause 'mine': .*no chat template"), steer(model, [clause]):
        pass


def test_one_operation_named_twice_acts_twice_and_rows_keep_their_own_order(model):
    eye = torch.eye(D_MODEL)
    one = Strength(3.0, 1.0, "activation")
    push, bend = Add(eye[4], one, "layers.1"), Affine(eye[4], 2.0, None, "layers.1")
    plain = run(model, tokens(), "layers.1")["layers.1"][0, 1:, 4]
    with steer(model, [push, push]):
        twice = run(model, tokens(), "layers.1")["layers.1"][0, 1:, 4]
    torch.testing.assert_close(twice, plain + 6)
    with steer_rows(model, [[push, bend], [bend, push]]):
        x_BSD = run(model, tokens().expand(2, -1), "layers.1")["layers.1"][:, 1:, 4]
    torch.testing.assert_close(x_BSD, torch.stack([2 * (plain + 3), 2 * plain + 3]))


def test_an_unknown_hookpoint_and_an_empty_list_are_refused(model, dictionary):
    with (
        pytest.raises(ModelError, match=r"layers\.9"),
        steer(model, [Add(torch.ones(D_MODEL), Strength(1.0, 1.0, "activation"), "layers.9")]),
    ):
        pass
    with pytest.raises(ConfigError, match="at least one operation"), steer(model, []):
        pass
