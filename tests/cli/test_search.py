"""`bathyscope search` and its neighbours on the command line: what is printed, and what is refused in one line."""

import json

import pytest
import torch
from tiny import D_MODEL, tiny_model

from bathyscope.activations.text import Texts
from bathyscope.cli import concepts as concepts_command
from bathyscope.cli import influence as influence_command
from bathyscope.cli import main
from bathyscope.cli import search as search_command
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.explanations.explain import explain
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.features.index import IndexSettings, index_features
from bathyscope.models.unembed import unembedding

LETTERS = "abcd"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A dictionary of four letters with its index and explanations; the folders' names as text."""
    folder = tmp_path_factory.mktemp("run")
    E = unembedding(tiny_model())[[ord(letter) for letter in LETTERS]]
    weights = Weights(
        W_enc=(E / E.square().sum(1, keepdim=True)).T.contiguous(),
        b_enc=torch.zeros(4),
        W_dec=torch.nn.functional.normalize(E, dim=1),
        b_dec=torch.zeros(D_MODEL),
        threshold=torch.full((4,), 0.95),
    )
    dictionary = Dictionary(
        weights=weights, rule=Above(), subtract_b_dec=False, hookpoint="embed_tokens", max_activation=torch.ones(4)
    )
    dictionary.save(folder / "dictionary")
    words = Texts(
        [" ".join(["anchor boat", "coast dunes", "anchor dunes"][i % 3] for _ in range(9)) for i in range(12)]
    )
    settings = IndexSettings(n_tokens=1500)
    index = index_features(tiny_model(), dictionary, words, out=folder / "features", settings=settings)
    method = MutualInformation(n_random=20, words_per_feature=3)
    explain(index, method, model=tiny_model(), dictionary=dictionary, out=folder / "explanations")
    return {name: str(folder / name) for name in ("dictionary", "features", "explanations")}


@pytest.fixture(autouse=True)
def a_tiny_model(monkeypatch):
    for command in (search_command, concepts_command, influence_command):
        monkeypatch.setattr(command, "load_model", lambda name: tiny_model())


def rows(capsys) -> list[dict]:
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if line.get("event") == "result"]


def test_features_are_found_by_the_words_they_fire_on(run, capsys):
    assert main(["search", "--json", "--explanations", run["explanations"], "words", "--query", "boats"]) == 0
    found = rows(capsys)
    assert 1 in {row["feature"] for row in found} and all("boat" in row["words"] or row["words"] for row in found)
    assert main(["search", "--explanations", run["explanations"], "words", "--query", "mountain"]) == 0
    assert "nothing found" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("by", "feature"),
    [
        (["token", "--token", "c"], 2),
        (["prompts", "--dictionary", "DICTIONARY", "--having", "bd", "xbx", "--without", "d"], 1),
        (["activation", "--dictionary", "DICTIONARY", "--prompt", "xxd"], 3),
        (["neighbours", "--feature", "0", "--by", "cofiring"], None),
    ],
)
def test_every_other_way_to_search_prints_features_with_their_words(run, capsys, by, feature):
    by = [word.replace("DICTIONARY", run["dictionary"]) for word in by]
    assert main(["search", "--json", "--index", run["features"], "--explanations", run["explanations"], *by]) == 0
    found = [row for row in rows(capsys) if "feature" in row]
    assert feature is None or [row["feature"] for row in found] == [feature]
    assert all(row["words"] for row in found)
    assert main(["search", "--index", run["features"], *by]) == 0
    assert feature is None or f" {feature} " in capsys.readouterr().out


def test_an_answer_is_taken_apart(run, capsys):
    by = ["answer", "--dictionary", run["dictionary"], "--prompt", "abc", "--answer", "e", "--other", "f"]
    assert main(["search", "--json", *by]) == 0
    figures, *found = rows(capsys)
    assert figures["active features"] == 3 == len(found)
    assert {row["feature"] for row in found} == {0, 1, 2}
    assert main(["search", *by]) == 0
    assert "attribution agrees with cuts" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["words", "--query", "sea"], "needs --explanations"),
        (["token", "--token", "a"], "needs --index"),
        (["activation", "--dictionary", "DICTIONARY", "--prompt", ""], "no token"),
        (["answer", "--dictionary", "DICTIONARY", "--prompt", "a", "--answer", "ab", "--other", "c"], "2 tokens"),
    ],
)
def test_what_is_missing_is_said_in_one_line(run, capsys, arguments, message):
    arguments = [word.replace("DICTIONARY", run["dictionary"]) for word in arguments]
    assert main(["search", *arguments]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1


def test_an_unknown_feature_is_refused(run, capsys, tmp_path):
    assert main(["search", "--index", run["features"], "neighbours", "--feature", "99"]) == 2
    assert "features 0 to 3" in capsys.readouterr().err
    options = ["--dictionary", run["dictionary"], "--index", run["features"], "--out", str(tmp_path / "out")]
    assert main(["influence", *options, "--features", "99"]) == 2
    assert "features 0 to 3" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["writes", "reads", "explained"])
def test_influence_prints_gains_over_both_controls(run, capsys, tmp_path, words):
    options = ["--dictionary", run["dictionary"], "--index", run["features"], "--out", str(tmp_path / "out")]
    options += ["--explanations", run["explanations"], "--features", "1", "--words", words]
    options += ["--prompts", "ab", "--max-new-tokens", "2", "--n-random", "2", "--n-others", "1"]
    assert main(["influence", "--json", *options]) == 0
    metrics = {row["metric"] for row in rows(capsys)}
    assert {"gain over random direction · feature 1", "gain over other feature · feature 1"} <= metrics


def test_concepts_are_found_by_contrast_and_by_their_words(run, capsys, tmp_path):
    words = ["moor", "reef", "pier", "tide", "rope", "helm", "isle", "port", "fog", "gull", "hull", "keel"]
    pairs = [f'["{one} {other} boat", "{one} {other} moot"]' for one in words[:6] for other in words[6:]]
    (tmp_path / "own.toml").write_text(f'[boats]\nwords = ["boat"]\npairs = [{", ".join(pairs)}]\n')
    options = ["--dictionary", run["dictionary"], "--explanations", run["explanations"], "--feature", "3"]
    options += ["--definitions", str(tmp_path / "own.toml"), "--n-random", "10", "--n-shuffles", "2"]
    assert main(["concepts", "--json", "--out", str(tmp_path / "out"), *options]) == 0
    found = {row["feature"]: row for row in rows(capsys) if "feature" in row}
    assert found[1]["found_by"] == "contrast, words" and found[1]["recall"] == 1
    assert found[3]["found_by"] == "named" and not found[3]["beats_null"]
