"""Over HTTP: what is answered is what `generate` answers, streamed or whole; what is wrong is refused by its name."""

import logging
import time

import pytest
import torch
from serving.asking import CLAMP, serving
from steering.worlds import random_dictionary
from tiny import CONTEXT, tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.models.log_probs import log_probs
from bathyscope.models.prompts import chat_tokens, text_tokens
from bathyscope.serving.limits import LimitSettings
from bathyscope.steering.clause import Clause
from bathyscope.steering.operations.add import Add
from bathyscope.steering.operations.clamp import Clamp
from bathyscope.steering.operations.strength import Strength
from bathyscope.steering.steer import steer


@pytest.fixture(scope="module")
def model():
    return tiny_model()


@pytest.fixture(scope="module")
def client(model):
    with serving(model, limits=LimitSettings(max_body_bytes=20_000, max_rows=8)) as one:
        yield one


def told_text(reply) -> str:
    return "".join(chunk["choices"][0].get("text", "") for chunk in reply.chunks if chunk["choices"])


def test_health_and_models_say_what_there_is(client, model):
    assert client.send("GET", "/health").body == {"status": "ok"}
    (entry,) = client.send("GET", "/v1/models").body["data"]
    assert entry["id"] == model.name
    assert entry["steer"]["dictionaries"] == {"dic": {"hookpoint": "layers.1", "n_features": 48}}
    assert entry["steer"]["vectors"] == {"up": {"hookpoint": "layers.1"}}
    assert entry["steer"]["typical_norms"]["layers.1"] > 0


@pytest.mark.parametrize("temperature", [0, 0.8])
def test_answers_are_those_of_generate_steered_and_not(client, model, temperature):
    settings = {"max_tokens": 10, "temperature": temperature, "seed": 7}
    plain = generate(model, ["hello"], max_new_tokens=10, temperature=float(temperature), seed=7)[0]
    with steer(model, [Clamp(random_dictionary(model), (5,), 4.0)]):
        steered = generate(model, ["hello"], max_new_tokens=10, temperature=float(temperature), seed=7)[0]
    assert client.chat(**settings).body["choices"][0]["message"]["content"] == plain.text
    assert client.chat(**settings, steer=[CLAMP]).body["choices"][0]["message"]["content"] == steered.text
    assert steered.text != plain.text


def test_a_list_of_prompts_draws_as_generate_does(client, model):
    asked = {"max_tokens": 6, "temperature": 1.0, "seed": 3}
    expected = generate(model, ["one", "three"], max_new_tokens=6, temperature=1.0, seed=3, chat=False)
    body = client.complete(["one", "three"], **asked).body
    assert [choice["text"] for choice in body["choices"]] == [each.text for each in expected]
    assert [choice["index"] for choice in body["choices"]] == [0, 1]
    ids = [text_tokens(model, prompt) for prompt in ("one", "three")]
    assert client.complete(ids, **asked).body["choices"] == body["choices"]
    assert body["usage"]["prompt_tokens"] == sum(map(len, ids))


def test_several_answers_to_one_prompt_differ_and_a_drawn_seed_repeats_them(client):
    first = client.chat(n=3, max_tokens=8).body
    texts = [choice["message"]["content"] for choice in first["choices"]]
    assert len(set(texts)) == 3
    again = client.chat(n=3, max_tokens=8, seed=first["seed"]).body
    assert [choice["message"]["content"] for choice in again["choices"]] == texts


@pytest.mark.parametrize("steer_clauses", [[], [CLAMP]])
def test_a_stream_says_what_a_whole_answer_says(client, steer_clauses):
    asked = {"max_tokens": 20, "temperature": 0.9, "seed": 1, "logprobs": 2, "echo": True, "steer": steer_clauses}
    whole = client.complete(**asked).body["choices"][0]
    reply = client.complete(**asked, stream=True, stream_options={"include_usage": True})
    assert reply.headers["content-type"] == "text/event-stream"
    assert told_text(reply) == whole["text"]
    told = [chunk["choices"][0]["logprobs"] for chunk in reply.chunks if chunk["choices"]]
    for name, values in whole["logprobs"].items():
        assert [value for each in told if each for value in each[name]] == values
    assert reply.chunks[-2]["choices"][0]["finish_reason"] == whole["finish_reason"]
    assert reply.chunks[-1]["usage"]["completion_tokens"] == 20


def test_standing_clauses_steer_requests_without_their_own(client, model):
    asked = {"max_tokens": 8, "temperature": 0}
    clamp = Clause(operation=Clamp(random_dictionary(model), (5,), 4.0))
    with serving(model, standing=[clamp]) as steered:
        assert steered.chat(**asked).body["choices"] == client.chat(**asked, steer=[CLAMP]).body["choices"]
        assert steered.chat(**asked, steer=[]).body["choices"] == client.chat(**asked).body["choices"]


def test_a_chat_streams_its_role_first(client):
    whole = client.chat(max_tokens=8, temperature=0).body["choices"][0]["message"]["content"]
    chunks = client.chat(max_tokens=8, temperature=0, stream=True).chunks
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == whole


def test_echoed_log_probs_are_those_of_the_model(client, model):
    """What lm-eval asks: one new token, the log-probabilities of the prompt before it."""
    tokens = text_tokens(model, "the sea")
    body = client.complete(tokens, max_tokens=1, temperature=0, logprobs=1, echo=True, seed=1).body
    found = body["choices"][0]["logprobs"]
    (expected,) = log_probs(model, [tokens])
    assert found["token_logprobs"][0] is None
    assert found["token_logprobs"][1:-1] == pytest.approx(expected.tolist(), abs=1e-5)
    assert len(found["tokens"]) == len(tokens) + 1
    assert body["choices"][0]["text"].startswith("the sea")
    for token, log_p, top in zip(
        found["tokens"][1:], found["token_logprobs"][1:], found["top_logprobs"][1:], strict=True
    ):
        assert top[token] == log_p
        assert max(top.values()) >= log_p
    only = client.complete(tokens, max_tokens=0, logprobs=1, echo=True).body["choices"][0]
    assert only["logprobs"]["token_logprobs"] == found["token_logprobs"][:-1]


def test_steering_changes_the_echoed_log_probs(client):
    asked = {"max_tokens": 0, "logprobs": 1, "echo": True}
    plain = client.complete(**asked).body["choices"][0]["logprobs"]["token_logprobs"]
    steered = client.complete(**asked, steer=[CLAMP]).body["choices"][0]["logprobs"]["token_logprobs"]
    assert plain[1] == steered[1], "BOS is left alone"
    assert plain[2:] != steered[2:]


def test_chat_log_probs_hold_the_chosen_token_and_the_top(client):
    content = client.chat(max_tokens=3, temperature=0, logprobs=True, top_logprobs=2).body["choices"][0]["logprobs"]
    assert [len(each["top_logprobs"]) for each in content["content"]] == [2, 2, 2]
    assert all(each["logprob"] == each["top_logprobs"][0]["logprob"] for each in content["content"])


def test_an_answer_ends_before_a_stop_string(client):
    whole = client.complete(max_tokens=30, temperature=0).body["choices"][0]["text"]
    stop = whole[5:7]
    cut = client.complete(max_tokens=30, temperature=0, stop=[stop], logprobs=0).body["choices"][0]
    assert cut["text"] == whole[: whole.index(stop)]
    assert cut["finish_reason"] == "stop"
    assert all(offset < len(cut["text"]) for offset in cut["logprobs"]["text_offset"])
    assert told_text(client.complete(max_tokens=30, temperature=0, stop=stop, stream=True)) == cut["text"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"prompt": []}, "prompt"),
        ({"prompt": [[]]}, "prompt[0]"),
        ({"prompt": [1, 999]}, "prompt"),
        ({"prompt": ["a", 5]}, "prompt[1]"),
        ({"prompt": "a", "max_tokens": -1}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": CONTEXT}, "max_tokens"),
        ({"prompt": "a", "max_tokens": True}, "max_tokens"),
        ({"prompt": "a" * CONTEXT}, "prompt"),
        ({"prompt": "a", "temperature": float("nan")}, "temperature"),
        ({"prompt": "a", "temperature": 10**400}, "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "n": 0}, "n"),
        ({"prompt": "a", "n": 9}, "n"),
        ({"prompt": "a", "stop": [""]}, "stop"),
        ({"prompt": "a", "logprobs": 21}, "logprobs"),
        ({"prompt": "a", "stream": "yes"}, "stream"),
        ({"prompt": "a", "seed": 0.5}, "seed"),
        ({"prompt": "a", "best_of": 2}, "best_of"),
        ({"prompt": "a", "frequency_penalty": 0.5}, "frequency_penalty"),
        ({"prompt": "a", "steering": []}, "steering"),
        ({"prompt": "a", "model": "gpt-4"}, "model"),
        ({"prompt": "a", "steer": [{}]}, "steer[0].operation"),
    ],
)
def test_a_bad_completion_is_refused_by_the_name_of_its_field(client, body, param):
    reply = client.post("/v1/completions", **body)
    assert reply.status == (404 if param == "model" else 400)
    assert reply.param == param
    assert param in reply.body["error"]["message"]


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "messages"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "a"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": "a", "name": "b"}]}, "messages[0].name"),
        ({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2}, "top_logprobs"),
        ({"messages": [{"role": "user", "content": "a"}], "max_tokens": 0}, "max_tokens"),
        ({"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, "tools"),
        ({"messages": [{"role": "user", "content": "a" * CONTEXT}]}, "messages"),
    ],
)
def test_a_bad_chat_is_refused_by_the_name_of_its_field(client, body, param):
    reply = client.post("/v1/chat/completions", **body)
    assert (reply.status, reply.param) == (400, param)


def test_texts_in_parts_are_one_text(client):
    parts = [{"type": "text", "text": "hel"}, {"type": "text", "text": "lo"}]
    asked = {"max_tokens": 5, "temperature": 0}
    assert client.chat(parts, **asked).body["choices"] == client.chat("hello", **asked).body["choices"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"[]", 400),
        (b"{", 400),
        (b"\xff", 400),
        (b'{"model": 1, "model": 2}', 400),
        (b'{"prompt": "\\ud800"}', 400),
        (b"[" * 10_000, 400),
        (b" " * 30_000, 413),
    ],
)
def test_what_is_no_request_is_refused(client, data, status):
    reply = client.send("POST", "/v1/completions", data)
    assert reply.status == status
    assert reply.body["error"]["message"]


def test_paths_methods_and_types_are_checked(client):
    assert client.send("GET", "/v2").status == 404
    assert client.send("GET", "/v1/completions").status == 405
    assert client.send("POST", "/health", b"{}").status == 405
    assert client.send("POST", "/v1/completions", b"{}", {"Content-Type": "text/plain"}).status == 415
    assert client.send("POST", "/v1/completions", b"{}", {"Transfer-Encoding": "chunked"}).status == 411


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "STEER"])
def test_a_wrong_method_hears_as_json_which_is_right(client, method):
    reply = client.send(method, "/v1/completions", b"{}" if method in ("PUT", "PATCH") else None)
    assert (reply.status, reply.headers["allow"]) == (405, "POST")
    assert reply.body["error"]["message"]


def test_head_is_get_without_a_body(client):
    assert client.send("HEAD", "/health").status == 200
    assert client.send("HEAD", "/health").data == b""
    assert client.send("HEAD", "/v1/completions").status == 405


@pytest.mark.parametrize(
    ("path", "headers", "status"), [("/" + "a" * 70_000, {}, 414), ("/health", {"X-A": "a" * 70_000}, 431)]
)
def test_what_the_standard_library_refuses_is_json_too(client, path, headers, status):
    reply = client.send("GET", path, headers=headers)
    assert reply.status == status
    assert reply.body["error"]["message"]


def test_positions_by_role_are_refused_for_a_prompt_that_is_no_chat(client, model):
    clause = {**CLAMP, "positions": {"roles": ["user"]}}
    reply = client.complete("hello", max_tokens=2, steer=[CLAMP | {"features": [7]}, clause])
    assert (reply.status, reply.param) == (400, "steer[1].positions.roles")
    assert "no roles" in reply.body["error"]["message"]
    assert client.chat(max_tokens=2, steer=[clause]).status == 200
    chat = chat_tokens(model, [{"role": "user", "content": "hello"}])
    assert client.complete(chat, max_tokens=2, steer=[clause]).status == 200


def test_standing_clauses_that_do_not_fit_are_refused_before_anyone_asks(model):
    wide = Add(torch.ones(model.d_model + 1), Strength(1.0, 1.0, "activation"), "layers.1")
    clamp = Clamp(random_dictionary(model), (5,), 4.0)
    for standing in ([Clause(operation=wide)], [Clause(operation=clamp), Clause(operation=clamp)]):
        with pytest.raises(ConfigError), serving(model, standing=standing):
            pass


def test_another_host_or_origin_is_refused(client):
    assert client.send("GET", "/v1/models", headers={"Host": "evil.example"}).status == 403
    assert client.send("GET", "/v1/models", headers={"Origin": "http://evil.example"}).status == 403
    assert client.send("GET", "/v1/models", headers={"Origin": "null"}).status == 403
    assert client.send("GET", "/v1/models", headers={"Host": "localhost:1"}).status == 200


def test_the_log_has_one_line_and_no_word_of_the_request(client, caplog):
    with caplog.at_level(logging.INFO, logger="bathyscope"):
        text = client.complete("a secret", max_tokens=4, temperature=0, steer=[CLAMP]).body["choices"][0]["text"]
        while not caplog.records:  # written once the answer is out
            time.sleep(0.01)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith("POST /v1/completions 200 ")
    assert line.endswith("1 rows, 9 tokens read, 1 clauses, 4 written")
    assert "secret" not in line
    assert text not in line
