"""`bathyscope serve`: answers until it is told to stop, then ends cleanly."""

import json
import os
import signal
import threading

import pytest
from serving.asking import CLAMP, Client
from steering.worlds import random_dictionary
from tiny import tiny_model

from bathyscope.cli import main, serve


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_server_answers_and_a_signal_ends_it_cleanly(number, monkeypatch, tmp_path, capsys):
    model = tiny_model()
    random_dictionary(model).save(tmp_path / "dic")
    monkeypatch.setattr(serve, "load_model", lambda name, **_: model)
    replies, opened = [], serve.Server

    def asked(*arguments, **keywords):
        server = opened(*arguments, **keywords)

        def ask():
            replies.append(Client(server.url, model.name).chat(max_tokens=3, temperature=0, steer=[CLAMP]))
            os.kill(os.getpid(), number)

        threading.Thread(target=ask).start()
        return server

    monkeypatch.setattr(serve, "Server", asked)
    words = ["serve", "--openai", "--port", "0", "--dictionary", str(tmp_path / "dic"), "--json"]
    assert main(words) == 0
    assert replies[0].status == 200
    assert json.loads(capsys.readouterr().out.splitlines()[0])["url"].startswith("http://127.0.0.1:")


def test_a_file_of_clauses_that_cannot_be_used_is_refused_by_its_name(monkeypatch, tmp_path, capsys):
    model = tiny_model()
    random_dictionary(model).save(tmp_path / "dic")
    monkeypatch.setattr(serve, "load_model", lambda name, **_: model)
    file = tmp_path / "clauses.json"
    words = ["serve", "--openai", "--port", "0", "--dictionary", str(tmp_path / "dic"), "--steer", str(file)]
    bare = {**CLAMP, "strength": 4}
    for text, said in {
        json.dumps([bare]): 'steer[0].strength: expected {"value": number, "unit": "observed maximum"}, found 4',
        json.dumps([CLAMP, CLAMP]): "both hold feature 5",
        json.dumps({"steer": [CLAMP]}): "steer: expected a list",
        '[], "extra": []': "extra: there is no such field",
        "[": "not JSON",
    }.items():
        file.write_text(text)
        assert main(words) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith(f"error: {file}: ") and said in line


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "add --openai"),
        (["--openai", "--host", "0.0.0.0"], "can be reached from other machines"),
        (["--openai", "--port", "70000"], "expected 0 to 65535"),
        (["--openai", "--batch-size", "0"], "at least 1"),
        (["--openai", "--token-file", "missing"], "cannot be read"),
    ],
)
def test_bad_use_is_one_line_before_a_model_is_loaded(words, line, monkeypatch, capsys):
    monkeypatch.setattr(serve, "load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    monkeypatch.delenv("BATHYSCOPE_TOKEN", raising=False)
    assert main(["serve", *words]) == 2
    assert line in capsys.readouterr().err
