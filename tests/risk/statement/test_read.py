import json

import pytest
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.risk.events.logit import ArgmaxIn, ArgmaxToken, TokenProbability
from bathyscope.risk.events.sequence import GreedySequence, SampledSequence
from bathyscope.risk.events.text import TextMatches
from bathyscope.risk.inputs.pool import Pool
from bathyscope.risk.inputs.slots import Slots
from bathyscope.risk.statement.read import read_problem

SLOTS = 'kind = "slots"\ntext = "{a} and {b}"\nfillings.a = ["x", "y"]\nfillings.b = {p = 0.9, q = 0.1}\nchat = false'
ARGMAX = 'kind = "argmax"\ntoken = "a"'


@pytest.fixture(scope="module", name="model")
def _model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "tiny"
    tiny = tiny_model()
    tiny.network.save_pretrained(folder)
    tiny.tokenizer.save_pretrained(folder)
    return folder


def state(tmp_path, model, inputs=SLOTS, event=ARGMAX):
    file = tmp_path / "problem.toml"
    file.write_text(f"model = {json.dumps(str(model))}\n[inputs]\n{inputs}\n[event]\n{event}\n")
    return file


def test_slots_and_a_token_by_its_text(tmp_path, model):
    problem = read_problem(state(tmp_path, model))
    assert isinstance(problem.inputs, Slots)
    assert [len(log_p) for log_p in problem.inputs.log_p] == [2, 2]
    assert problem.inputs.log_p[1].exp().tolist() == pytest.approx([0.9, 0.1])
    assert problem.event == ArgmaxToken(ord("a"))


def test_a_pool_of_prompts_from_a_file_beside_the_statement(tmp_path, model):
    (tmp_path / "prompts.txt").write_text("one\n\ntwo\n")
    problem = read_problem(state(tmp_path, model, 'kind = "pool"\nfile = "prompts.txt"\nchat = false'))
    assert isinstance(problem.inputs, Pool)
    assert len(problem.inputs.prompts) == 2


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        ('kind = "argmax"\ntokens = ["a", 98]', ArgmaxIn),
        ('kind = "draw"\ntoken = 97\ntemperature = 2', TokenProbability),
        ('kind = "greedy"\ntext = "ab"', GreedySequence),
        ('kind = "sampled"\ntext = "ab"', SampledSequence),
        ('kind = "text"\nrule = "contains:ab"\nn_tokens = 3', TextMatches),
    ],
)
def test_every_kind_of_event_is_read(event, kind, tmp_path, model):
    assert isinstance(read_problem(state(tmp_path, model, event=event)).event, kind)


@pytest.mark.parametrize(
    ("inputs", "event", "message"),
    [
        (SLOTS, 'kind = "argmax"\ntoken = "ab"', "'ab' is 2 tokens"),
        (SLOTS, 'kind = "argmin"\ntoken = "a"', "kind is 'argmin', expected one of argmax"),
        (SLOTS, 'kind = "argmax"\ntoken = "a"\nheat = 1', r"\[event\] has no key 'heat'"),
        (SLOTS, 'kind = "argmax"', "has no token; write token"),
        (SLOTS, 'kind = "draw"\ntoken = 1\ntemperature = "hot"', "temperature is 'hot', expected a number"),
        (SLOTS, 'kind = "greedy"\ntext = 3', "text is 3, expected a text in quotes"),
        ('kind = "slots"\ntext = "{a}"\nfillings.b = ["x"]', ARGMAX, "slots"),
        ('kind = "dice"', ARGMAX, "expected one of slots, pool"),
        ('kind = "pool"\nfile = "none.txt"', ARGMAX, "there is no file"),
        ('kind = "camel"\ncorpus = "none"', ARGMAX, "there is no text"),
        (SLOTS, 'kind = "text"\nrule = "eval:1"', "is no rule for text"),
        (SLOTS, 'kind = "text"\nrule = "words:a,,b"', "a word without a letter"),
        (SLOTS, 'kind = "text"\nrule = "contains:a"\nn_tokens = 0', "0 tokens is none to judge"),
        (SLOTS, 'kind = "argmax"\ntoken = 999', r"\[event\]: token 999 is not in the vocabulary of tiny: 0 to 259"),
        (SLOTS, 'kind = "draw"\ntoken = true', "a token is True, expected its number or its text"),
        (SLOTS, 'kind = "argmax"\ntokens = []', "tokens is empty"),
        (SLOTS, 'kind = "draw"\ntoken = 1\ntemperature = inf', "temperature is inf"),
        ('kind = "slots"\ntext = "{a}"\nfillings.a = 3', ARGMAX, "fillings.a is 3, expected a list of texts"),
        ('kind = "slots"\ntext = "{a}"\nfillings.a = [30]', ARGMAX, "30 is no text; put it in quotes"),
        ('kind = "slots"\ntext = "{a}"\nfillings.a = []', ARGMAX, "slot a: there is nothing to choose from"),
        ('kind = "slots"\ntext = "{a}"\nfillings.a = {x = "much"}', ARGMAX, "the weight of 'x' is 'much'"),
        (
            'kind = "slots"\ntext = "{a}"\nfillings.a = {x = 1, y = 0}',
            ARGMAX,
            "a weight is 0.0, expected a positive number",
        ),
        ('kind = "pool"\nprompts = [3]', ARGMAX, "3 is no text"),
        ('kind = "hex"\npositions = 0', ARGMAX, "positions is 0, expected at least 1"),
    ],
)
def test_what_cannot_be_read_is_named(inputs, event, message, tmp_path, model):
    with pytest.raises(ConfigError, match=message):
        read_problem(state(tmp_path, model, inputs, event))


def test_a_file_that_is_no_statement_is_named(tmp_path):
    with pytest.raises(ConfigError, match="there is no file"):
        read_problem(tmp_path / "none.toml")
    file = tmp_path / "bad.toml"
    file.write_bytes(b"\xff= [")
    with pytest.raises(ConfigError, match="is no TOML"):
        read_problem(file)
    file.write_text("model = 'x'\nseed = 1")
    with pytest.raises(ConfigError, match=r"has no table \[inputs\]"):
        read_problem(file)


def test_a_file_saved_with_a_byte_order_mark_is_read(tmp_path, model):
    file = state(tmp_path, model)
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert read_problem(file).event == ArgmaxToken(ord("a"))


def test_prompts_in_another_encoding_are_named(tmp_path, model):
    (tmp_path / "prompts.txt").write_bytes(b"caf\xe9\n")
    with pytest.raises(ConfigError, match="no text in UTF-8"):
        read_problem(state(tmp_path, model, 'kind = "pool"\nfile = "prompts.txt"\nchat = false'))
