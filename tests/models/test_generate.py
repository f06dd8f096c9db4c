"""Generation: equal with and without a cache, alone and in a batch, and the same with the same seed."""

import pytest
import torch
from tiny import ARCHITECTURES, N_VOCABULARY, tiny_model

from bathyscope.errors import ConfigError, ModelError
from bathyscope.models.generate import generate
from bathyscope.models.hooks import record, replace
from bathyscope.models.prompts import chat_tokens, prompt_tokens, special_tokens, stop_tokens, text_tokens

PROMPTS = ["Hello", "A much longer prompt than the other ones", "x"]
IM_END = 259


def answers(model, prompts=PROMPTS, **settings):
    return [g.tokens for g in generate(model, prompts, **{"max_new_tokens": 12, **settings})]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_cache_changes_no_token(architecture, temperature):
    model = tiny_model(architecture)
    cached = answers(model, temperature=temperature, use_cache=True)
    assert cached == answers(model, temperature=temperature, use_cache=False)
    assert len({token for answer in cached for token in answer}) > 3


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_answer_does_not_depend_on_its_batch_mates(architecture, temperature):
    model = tiny_model(architecture)
    together = answers(model, temperature=temperature)
    assert together == answers(model, temperature=temperature, batch_size=1)
    assert together == answers(model, temperature=temperature, batch_size=2)


@pytest.mark.parametrize("architecture", ["llama", "gemma3", "gpt2"])
def test_greedy_answers_are_those_of_plain_forwards_of_the_whole_text(architecture):
    model = tiny_model(architecture)
    for generation in generate(model, PROMPTS, max_new_tokens=8, chat=False):
        text = list(generation.prompt_tokens)
        for token in generation.tokens:
            with torch.no_grad():
                logits_V = model.network(input_ids=torch.tensor([text]), use_cache=False).logits[0, -1]
            assert token == int(logits_V.argmax())
            text.append(token)


def test_the_same_seed_gives_the_same_text_and_another_seed_another(tiny_model):
    first = answers(tiny_model, temperature=1.0, seed=5)
    assert first == answers(tiny_model, temperature=1.0, seed=5)
    assert first != answers(tiny_model, temperature=1.0, seed=6)
    assert first != answers(tiny_model, temperature=1.0, seed=-5)


def test_equal_prompts_in_one_call_draw_different_answers(tiny_model):
    one, other = answers(tiny_model, ["same", "same"], temperature=1.0)
    assert one != other


def test_sampling_leaves_the_global_generator_alone(tiny_model):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    generate(tiny_model, ["a"], max_new_tokens=4, temperature=1.0)
    assert torch.equal(torch.rand(3), expected)


def test_sampled_tokens_follow_the_model_s_distribution(tiny_model):
    """400 first tokens against the exact distribution: the likeliest token's share within 4 standard errors."""
    with torch.no_grad():
        tokens_BS = torch.tensor([text_tokens(tiny_model, "The")])
        p_V = (tiny_model.network(input_ids=tokens_BS).logits[0, -1].double() / 0.7).softmax(-1)
    drawn = answers(tiny_model, ["The"] * 400, max_new_tokens=1, temperature=0.7, chat=False, batch_size=100)
    p = float(p_V.max())
    share = sum(tokens[0] == int(p_V.argmax()) for tokens in drawn) / 400
    assert 0.05 < p < 0.95
    assert abs(share - p) < 4 * (p * (1 - p) / 400) ** 0.5


def force(model, token):
    """A replacement of the final norm's output that makes `token` the next one."""
    row_D = model.network.get_output_embeddings().weight[token]
    return lambda x_BSD: (100 * row_D).expand_as(x_BSD).clone()


def test_a_replacement_acts_on_every_generated_token(tiny_model):
    with replace(tiny_model, {"norm": force(tiny_model, 65)}):
        (generation,) = generate(tiny_model, ["Hello"], max_new_tokens=5)
    assert (generation.tokens, generation.text, generation.ended) == ((65,) * 5, "AAAAA", False)


def test_steered_answers_are_equal_with_and_without_a_cache(tiny_model):
    with replace(tiny_model, {"layers.1": lambda x_BSD: x_BSD * 1.5 + 0.3}):
        steered = answers(tiny_model)
        assert steered == answers(tiny_model, use_cache=False)
    assert steered != answers(tiny_model)


def test_an_answer_stops_at_the_end_token(tiny_model):
    with replace(tiny_model, {"norm": force(tiny_model, IM_END)}):
        (generation,) = generate(tiny_model, ["Hello"], max_new_tokens=5)
    assert (generation.tokens, generation.text, generation.ended) == ((IM_END,), "", True)


def test_rows_that_ended_wait_for_the_others(tiny_model):
    """The first row ends at once, the second goes on as if it were alone."""
    calls = []

    def end_first_row(x_BSD):
        calls.append(None)
        if len(calls) > 1 or x_BSD.shape[0] == 1:
            return None
        changed = x_BSD.clone()
        changed[0] = force(tiny_model, IM_END)(x_BSD)[0]
        return changed

    with replace(tiny_model, {"norm": end_first_row}):
        first, second = generate(tiny_model, ["a", "bcd"], max_new_tokens=6)
    assert first.tokens == (IM_END,)
    assert second.tokens == generate(tiny_model, ["bcd"], max_new_tokens=6)[0].tokens


def test_a_chat_template_is_used_when_there_is_one(tiny_model):
    (generation,) = generate(tiny_model, ["hi"], max_new_tokens=1)
    assert generation.prompt == "hi"
    assert tiny_model.tokenizer.decode(generation.prompt_tokens) == (
        "<|bos|><|im_start|>user\nhi<|im_end|>\n<|im_start|>assistant\n"
    )
    (plain,) = generate(tiny_model, ["hi"], max_new_tokens=1, chat=False)
    assert tiny_model.tokenizer.decode(plain.prompt_tokens) == "<|bos|>hi"


def test_a_system_message_stands_before_the_prompt(tiny_model):
    tokens = prompt_tokens(tiny_model, "hi", system="be brief")
    assert "<|im_start|>system\nbe brief<|im_end|>\n<|im_start|>user" in tiny_model.tokenizer.decode(tokens)
    with pytest.raises(ConfigError, match="a system message needs chat=True"):
        prompt_tokens(tiny_model, "hi", system="be brief", chat=False)


def test_a_model_without_a_chat_template_continues_text(tiny_model):
    tiny_model.tokenizer.chat_template = None
    (generation,) = generate(tiny_model, ["hi"], max_new_tokens=1)
    assert generation.prompt_tokens == (257, 104, 105)
    with pytest.raises(ModelError, match="has no chat template; pass chat=False"):
        generate(tiny_model, ["hi"], max_new_tokens=1, chat=True)


def test_a_template_that_refuses_is_one_clear_error(tiny_model):
    tiny_model.tokenizer.chat_template = "{{ raise_exception('no system role here') }}"
    with pytest.raises(ModelError, match="refuses these messages: no system role here"):
        chat_tokens(tiny_model, [{"role": "system", "content": "x"}])


def test_what_closes_a_turn_of_the_template_stops_an_answer(tiny_model):
    tiny_model.network.generation_config.eos_token_id = [0, 1]
    tiny_model.tokenizer.eos_token = "<|pad|>"
    assert stop_tokens(tiny_model) == {0, 1, 256, IM_END}
    tiny_model.tokenizer.chat_template = None
    assert stop_tokens(tiny_model) == {0, 1, 256}


def test_special_tokens_are_all_that_are_flagged_not_only_those_with_a_role(tiny_model):
    tiny_model.tokenizer.eos_token = "<|pad|>"
    assert IM_END not in tiny_model.tokenizer.all_special_ids
    assert special_tokens(tiny_model) == {256, 257, 258, IM_END}


def test_an_empty_prompt_is_the_bos_token_or_refused(tiny_model):
    assert text_tokens(tiny_model, "") == [257]
    tiny_model.tokenizer.backend_tokenizer.post_processor = None
    assert text_tokens(tiny_model, "") == [257]
    tiny_model.tokenizer.bos_token = None
    with pytest.raises(ConfigError, match="an empty prompt gives no tokens"):
        text_tokens(tiny_model, "")


def test_no_prompts_give_no_answers(tiny_model):
    assert generate(tiny_model, [], max_new_tokens=3) == []


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens and batch_size must be at least 1, found 0 and 16"),
        ({"max_new_tokens": 4, "batch_size": 0}, "found 4 and 0"),
        ({"max_new_tokens": 4, "temperature": -0.5}, "temperature must be 0"),
        ({"max_new_tokens": 4, "temperature": float("nan")}, "temperature must be 0"),
        ({"max_new_tokens": 1000}, "1000 new ones exceed the 128 tokens of tiny-llama-0"),
    ],
)
def test_settings_out_of_range_are_refused(tiny_model, settings, message):
    with pytest.raises(ConfigError, match=message):
        generate(tiny_model, ["a"], **settings)


def test_one_text_instead_of_a_list_is_refused(tiny_model):
    with pytest.raises(ConfigError, match=r"write \[prompt\]"):
        generate(tiny_model, "hello", max_new_tokens=1)


def test_logits_that_are_not_numbers_are_reported(tiny_model):
    with replace(tiny_model, {"layers.1": lambda x_BSD: x_BSD * float("nan")}):
        with pytest.raises(ModelError, match="logits that are not numbers; lower the strength"):
            generate(tiny_model, ["a"], max_new_tokens=1)


def test_a_stopping_recording_around_generation_is_one_clear_error(tiny_model):
    with record(tiny_model, "layers.1"), pytest.raises(ModelError, match=r"use record\(stop=False\)"):
        generate(tiny_model, ["a"], max_new_tokens=1)


def test_every_token_id_can_be_answered(tiny_model):
    """The last row of the vocabulary is reachable: the draw's upper border is closed."""
    with replace(tiny_model, {"norm": force(tiny_model, N_VOCABULARY - 1)}):
        assert answers(tiny_model, ["a"], temperature=1.0, max_new_tokens=1) == [(N_VOCABULARY - 1,)]
