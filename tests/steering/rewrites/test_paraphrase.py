"""Paraphrases: the model's own greedy words, each text once, and an interrupted run goes on to the same bytes."""

import pytest
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.models.generate import generate
from bathyscope.steering.rewrites import paraphrase as room
from bathyscope.steering.rewrites.paraphrase import ParaphraseSettings, paraphrase
from bathyscope.steering.rewrites.rewrite import Rewrite

TEXTS = ("Say one.", "Say {two}!", "Say one.", "And three?\u2028")
SETTINGS = ParaphraseSettings(max_new_tokens=5, batch_size=1)


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The model of bytes has no room for more."""
    monkeypatch.setattr(room, "ASKED", "In other words: {text}")


def test_a_paraphrase_is_what_the_model_says_in_other_words(tmp_path):
    model = tiny_model()
    found = paraphrase(model, TEXTS, out=tmp_path / "out", settings=SETTINGS)
    assert isinstance(found, Rewrite) and list(found.of_text) == [TEXTS[0], TEXTS[1], TEXTS[3]]
    for text in TEXTS:
        (own,) = found.texts(text)
        said = generate(model, [room.ASKED.format(text=text)], max_new_tokens=5)[0].text.strip()
        assert own == said != text
    with pytest.raises(ConfigError, match="has no paraphrase"):
        found.texts("Another one.")


def test_a_text_stands_for_itself_where_the_model_says_nothing(tmp_path, monkeypatch):
    def silent(model, prompts, **options):
        return [type("Said", (), {"text": " \n" if "two" in prompt else "other"}) for prompt in prompts]

    monkeypatch.setattr(room, "generate", silent)
    found = paraphrase(tiny_model(), TEXTS, out=tmp_path / "out", settings=SETTINGS)
    assert found.texts(TEXTS[1]) == [TEXTS[1]] and found.texts(TEXTS[0]) == ["other"]
    assert '"empty": 1' in (tmp_path / "out" / "run.jsonl").read_text()


def test_an_interrupted_run_goes_on_to_the_same_bytes(tmp_path, monkeypatch):
    model = tiny_model()
    whole = paraphrase(model, TEXTS, out=tmp_path / "whole", settings=SETTINGS)
    calls: list[str] = []

    def failing(model, prompts, **options):
        calls.extend(prompts)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(model, prompts, **options)

    monkeypatch.setattr(room, "generate", failing)
    with pytest.raises(KeyboardInterrupt):
        paraphrase(model, TEXTS, out=tmp_path / "out", settings=SETTINGS)
    found = paraphrase(model, TEXTS, out=tmp_path / "out", settings=SETTINGS)
    assert len(calls) == 2 + 2, "the first paraphrase was kept"
    assert found == whole
    assert paraphrase(model, TEXTS, out=tmp_path / "out", settings=SETTINGS) == whole and len(calls) == 4


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="at least 1"):
        ParaphraseSettings(max_new_tokens=0)
