"""Where, when and how strongly: positions, gates and schedules, the same with and without a cache."""

import dataclasses

import pytest
import torch
from steering.worlds import random_dictionary
from tiny import D_MODEL, tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.generate import chat_tokens, generate
from bathyscope.models.hooks import record, run
from bathyscope.models.padding import padded_inputs
from bathyscope.models.prompts import text_tokens
from bathyscope.steering.clause import Clause
from bathyscope.steering.gates import FeatureGate, ProbeGate
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.positions import Positions
from bathyscope.steering.schedules import Decay, Ramp, Toward
from bathyscope.steering.steer import steer, steer_rows

AT = "layers.1"
TEXT = "hello sea"
"""Ten tokens: BOS and nine bytes."""


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def dictionary(model):
    return random_dictionary(model)


def push(size: float = 3.0) -> Add:
    return Add(torch.ones(D_MODEL), Strength(size, 1.0, "activation"), AT)


def moved(model, clause, rows=(TEXT,)) -> list[list[int]]:
    """Numbers of the tokens, padding aside, that one forward moves, for each row."""
    tokens = [text_tokens(model, row) for row in rows]
    inputs = padded_inputs(model, tokens, side="left")
    plain = run(model, inputs, AT)[AT]
    with steer(model, [clause]):
        steered = run(model, inputs, AT)[AT]
    is_moved_BS = (plain != steered).any(2)
    return [
        (is_moved.nonzero()[:, 0] - (inputs["input_ids"].shape[1] - len(row))).tolist()
        for is_moved, row in zip(is_moved_BS, tokens, strict=True)
    ]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (Positions(), list(range(1, 10))),
        (Positions(special=True), list(range(10))),
        (Positions(start=3, stop=5), [3, 4]),
        (Positions(part="prompt", start=-2), [8, 9]),
        (Positions(part="prompt", start=2, stop=-6), [2, 3]),
        (Positions(tokens=(101,)), [2, 8]),
        (Positions(tokens=(101,), exclude=(Positions(start=5),)), [2]),
        (Positions(exclude=(Positions(),)), []),
        (Positions(part="generation"), []),
    ],
    ids=str,
)
def test_positions_are_those_of_the_text_whatever_the_padding(model, where, expected):
    clause = Clause(operation=push(), where=where)
    alone, beside = moved(model, clause), moved(model, clause, rows=(TEXT, "a longer text beside it"))
    assert alone[0] == beside[0] == expected


def test_roles_are_those_of_the_chat(model):
    turns = [{"role": "system", "content": "sys"}, {"role": "user", "content": "hey"}]
    tokens = chat_tokens(model, turns)
    plain = run(model, torch.tensor([tokens]), AT)[AT][0]
    for role, text in (("system", b"sys"), ("user", b"hey")):
        with steer(model, [Clause(operation=push(), where=Positions(roles=(role,)))]):
            steered = run(model, torch.tensor([tokens]), AT)[AT][0]
        numbers = (plain != steered).any(1).nonzero()[:, 0].tolist()
        assert bytes(tokens[number] for number in numbers) == text


WAYS = {
    "prompt alone": Positions(part="prompt"),
    "generation alone": Positions(part="generation"),
    "the first generated tokens": Positions(part="generation", stop=3),
    "later ones": Positions(part="generation", start=3),
    "the assistant": Positions(roles=("assistant",)),
    "the end of the prompt": Positions(part="prompt", start=-4),
}


@pytest.mark.parametrize("where", WAYS.values(), ids=WAYS)
def test_a_steered_generation_is_the_same_with_and_without_a_cache(model, where):
    prompts = ["hello", "a longer prompt"]
    plain = generate(model, prompts, max_new_tokens=10)
    with steer(model, [Clause(operation=push(8.0), where=where)]) as steering:
        cached = generate(model, prompts, max_new_tokens=10)
        whole = generate(model, prompts, max_new_tokens=10, use_cache=False)
    assert cached == whole
    assert cached != plain
    assert 0 < steering.n_tokens_moved < steering.n_tokens_seen


def test_two_parts_together_are_the_whole(model):
    with steer(model, [Clause(operation=push(8.0), where=Positions(part=part)) for part in ("prompt", "generation")]):
        parts = generate(model, ["hello"], max_new_tokens=10)
    with steer(model, [push(8.0)]):
        assert generate(model, ["hello"], max_new_tokens=10) == parts


SCHEDULES = {
    "ramp": lambda _: Ramp(n_tokens=4, first=0.0, last=1.0),
    "decay": lambda _: Decay(half_life=2.0),
    "toward": lambda dictionary: Toward(dictionary=dictionary, feature=5, target=1.0, gain=0.4),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_is_the_same_with_and_without_a_cache(model, dictionary, name):
    schedule = SCHEDULES[name](dictionary)
    clause = Clause(operation=push(8.0), schedule=schedule)
    with steer(model, [clause]):
        cached = generate(model, ["hello", "a longer prompt"], max_new_tokens=10)
        whole = generate(model, ["hello", "a longer prompt"], max_new_tokens=10, use_cache=False)
    assert cached == whole
    with steer(model, [push(8.0)]):
        assert generate(model, ["hello", "a longer prompt"], max_new_tokens=10) != cached


def test_a_ramp_reaches_its_factors(model):
    rows, found = text_tokens(model, "ab"), list[float]()
    clause = Clause(operation=push(1.0), schedule=Ramp(n_tokens=2, first=0.0, last=2.0))
    cache = None
    for step in range(4):
        tokens = torch.tensor([rows]) if step == 0 else torch.tensor([[99]])
        if step == 0:
            block = steer(model, [clause])
            block.__enter__()
        with record(model, AT, stop=False) as seen:
            output = model.network(input_ids=tokens, past_key_values=cache, use_cache=True)
        moved_x = seen[AT][0, -1]
        cache = output.past_key_values
        found.append(float(moved_x.sum()))
    block.__exit__(None, None, None)
    plain, cache = list[float](), None
    for step in range(4):
        tokens = torch.tensor([rows]) if step == 0 else torch.tensor([[99]])
        with record(model, AT, stop=False) as seen:
            output = model.network(input_ids=tokens, past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        plain.append(float(seen[AT][0, -1].sum()))
    length = D_MODEL**0.5
    factors = [(a - b) / length for a, b in zip(found, plain, strict=True)]
    assert factors == pytest.approx([0.0, 0.0, 1.0, 2.0], abs=1e-3)


def test_a_gate_opens_by_the_activation_and_a_latch_keeps_it_open(model):
    tokens = torch.tensor([text_tokens(model, TEXT)])
    plain = run(model, tokens, AT)[AT][0]
    weight_D = plain[4]
    score_S = plain @ weight_D
    bias = -float(score_S[4]) * 0.999
    expected = [number for number in range(1, 10) if float(score_S[number]) + bias > 0]
    gate = ProbeGate(weight_D=weight_D, bias=bias)
    assert expected and len(expected) < 9
    assert moved(model, Clause(operation=push(), gate=gate))[0] == expected
    assert moved(model, Clause(operation=push(), gate=gate, latched=True))[0] == list(range(expected[0], 10))


@pytest.mark.parametrize("latched", [False, True])
def test_a_gated_generation_is_the_same_with_and_without_a_cache(model, dictionary, latched):
    gate = FeatureGate(dictionary=dictionary, features=(5, 9, 11), least=0.3)
    with steer(model, [Clause(operation=push(8.0), gate=gate, latched=latched)]) as steering:
        cached = generate(model, ["hello", "a longer prompt"], max_new_tokens=10)
        whole = generate(model, ["hello", "a longer prompt"], max_new_tokens=10, use_cache=False)
    assert cached == whole
    assert steering.n_tokens_moved


def test_rows_of_a_batch_have_operations_of_their_own(model, dictionary):
    prompts = ["hello", "hello", "a longer prompt", "hello"]
    own = [[push(8.0)], [], [Clamp(dictionary, (5,), 4.0)], [push(-8.0)]]
    with steer_rows(model, own):
        together = generate(model, prompts, max_new_tokens=8)
    for prompt, operations, answer in zip(prompts, own, together, strict=True):
        if not operations:
            assert generate(model, [prompt], max_new_tokens=8)[0] == answer
            continue
        with steer(model, operations):
            assert generate(model, [prompt], max_new_tokens=8)[0] == answer


def test_beams_of_a_row_are_steered_like_the_row(model):
    tokens = torch.tensor([text_tokens(model, "hello"), text_tokens(model, "world")])
    with steer_rows(model, [[push(8.0)], []]):
        both = model.network.generate(input_ids=tokens, num_beams=3, max_new_tokens=6, do_sample=False)
    plain = model.network.generate(input_ids=tokens[1:], num_beams=3, max_new_tokens=6, do_sample=False)
    with steer(model, [push(8.0)]):
        pushed = model.network.generate(input_ids=tokens[:1], num_beams=3, max_new_tokens=6, do_sample=False)
    assert torch.equal(both[1, : plain.shape[1]], plain[0])
    assert torch.equal(both[0, : pushed.shape[1]], pushed[0])
    assert not torch.equal(pushed[0], plain[0])


def test_a_prompt_given_in_pieces_is_steered_as_one_given_whole(model):
    row, at = text_tokens(model, TEXT), Positions(start=2, stop=7)
    with steer(model, [Clause(operation=push(), where=at)]):
        whole = model.network(input_ids=torch.tensor([row]), use_cache=False).logits[0, -1]
        first = model.network(input_ids=torch.tensor([row[:4]]), use_cache=True)
        second = model.network(input_ids=torch.tensor([row[4:]]), past_key_values=first.past_key_values)
    torch.testing.assert_close(second.logits[0, -1], whole, atol=1e-4, rtol=1e-4)


def test_the_wrong_number_of_rows_is_refused(model):
    with pytest.raises(ModelError, match="batch_size of 2"), steer_rows(model, [[push()], []]):
        run(model, torch.tensor([text_tokens(model, TEXT)]), AT)


def test_a_feature_held_twice_at_the_same_tokens_is_refused_by_name(model, dictionary):
    one = Clause(operation=Clamp(dictionary, (5,), 4.0), name="high")
    two = Clause(operation=Clamp(dictionary, (5, 7), 1.0), name="low")
    with pytest.raises(ConfigError, match=r"'high'.*'low'.*feature 5.*overlap"), steer(model, [one, two]):
        pass
    apart = [
        dataclasses.replace(one, where=Positions(part="prompt")),
        dataclasses.replace(two, where=Positions(part="generation")),
    ]
    with steer(model, apart):
        pass


BAD = {
    "an unknown role": (lambda _: Positions(roles=("tool",)), "tool"),
    "an empty window": (lambda _: Positions(start=4, stop=4), "no token"),
    "an end of nothing": (lambda _: Positions(start=-3), "end of the prompt"),
    "a latch without a gate": (lambda _: Clause(operation=push(), latched=True, name="x"), "'x' is latched"),
    "a gate elsewhere": (
        lambda d: Clause(
            operation=Add(torch.ones(D_MODEL), Strength(1.0, 1.0, "activation"), "layers.0"),
            gate=FeatureGate(dictionary=d, features=(5,), least=1.0),
        ),
        r"layers\.1",
    ),
    "a ramp over nothing": (lambda _: Ramp(n_tokens=0), "no ramp"),
    "a gate that is no number": (lambda d: FeatureGate(dictionary=d, features=(5,), least=float("nan")), "least"),
    "a token below 0": (lambda _: Positions(tokens=(-1,)), "give token ids"),
    "an endless gain": (lambda d: Toward(dictionary=d, feature=5, target=1.0, gain=float("inf")), "gain"),
}


@pytest.mark.parametrize("name", BAD)
def test_nonsense_is_refused_by_name(dictionary, name):
    make, message = BAD[name]
    with pytest.raises(ConfigError, match=message):
        make(dictionary)
