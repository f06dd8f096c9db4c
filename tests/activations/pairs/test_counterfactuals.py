"""Counterfactuals: every class of answer counted, partly known pairs, nothing asked twice after an interruption."""

import json
from collections.abc import Mapping, Sequence

import pytest
from tiny import tiny_model

from bathyscope.activations.pairs.counterfactuals import Ask, CounterfactualSettings, outcome, write_counterfactuals
from bathyscope.activations.text import Texts
from bathyscope.errors import ArtifactError, ConfigError, ModelError
from bathyscope.models.writers.local import LocalWriter
from bathyscope.models.writers.writer import Answer

TEXTS = Texts([f"We walk to pier {i}." for i in range(5)])
ASKS = (Ask(factor="tense", instruction="Put it into the past."), Ask(factor="person", instruction="Make it `they`."))
SETTINGS = CounterfactualSettings(n_texts=4, batch_size=3)


class Scripted:
    """A writer that answers by rule, keeps its prompts, and fails when it has answered enough."""

    identity: Mapping[str, str | float] = {"writer": "scripted"}
    materials: tuple[Mapping[str, str], ...] = ()

    def __init__(self, *, fails_after: int = 10**9, odd: Mapping[str, Answer] | None = None) -> None:
        self.prompts: list[str] = []
        self.fails_after, self.odd = fails_after, odd or {}

    def write(self, prompts: Sequence[str]) -> list[Answer]:
        if len(self.prompts) + len(prompts) > self.fails_after:
            raise ModelError("the endpoint went away")
        self.prompts += prompts
        return [self._answer(prompt) for prompt in prompts]

    def _answer(self, prompt: str) -> Answer:
        text = prompt.partition("Text: ")[2].strip()
        for part, answer in self.odd.items():
            if part in prompt:
                return answer
        return Answer(text.replace("We walk", "We walked" if "past" in prompt else "They walk"), True)


def test_texts_become_pairs_of_which_the_asked_factor_alone_is_known(tmp_path):
    writer = Scripted()
    written = write_counterfactuals(TEXTS, ASKS, writer, out=tmp_path / "a", settings=SETTINGS)
    assert written.pairs.factors == ("tense", "person") and written.pairs.n_pairs == 8 == len(writer.prompts)
    assert sorted(written.pairs.support.tolist()) == [[-1, 1]] * 4 + [[1, -1]] * 4
    assert len(set(written.pairs.groups)) == 4, "rewritings of a text stay together"
    assert {p.after.partition(" to")[0] for p in written.pairs.pairs} == {"We walked", "They walk"}
    assert "Put it into the past." in writer.prompts[0] and "{" not in writer.prompts[0]
    assert written.pairs.materials[0]["name"] == "texts in memory"


@pytest.mark.parametrize(
    ("answer", "kind", "said"),
    [
        (Answer(" We walked. ", True), "kept", "We walked."),
        (Answer("“We walked.”", True), "kept", "We walked."),
        (Answer("", True), "empty", ""),
        (Answer('""', True), "empty", ""),
        (Answer("  we  WALK. ", True), "unchanged", "we  WALK."),
        (Answer("I'm sorry, but I can't do that.", True), "refused", "I'm sorry, but I can't do that."),
        (Answer("I can’t help with that.", True), "refused", "I can’t help with that."),
        (Answer("We walked and", False), "cut off", "We walked and"),
    ],
)
def test_each_class_of_answer_is_told_from_the_others(answer, kind, said):
    assert outcome("We walk.", answer) == (kind, said)


def test_a_text_that_begins_like_a_refusal_may_be_rewritten():
    assert outcome("I'm sorry, I walk.", Answer("I'm sorry, I walked.", True))[0] == "kept"


def test_answers_that_are_no_pairs_are_counted_and_kept_for_a_person_to_see(tmp_path):
    odd = {"pier 0": Answer("I cannot do that.", True), "pier 1": Answer("", True), "pier 2": Answer("We wal", False)}
    settings = CounterfactualSettings(n_texts=5)
    written = write_counterfactuals(TEXTS, ASKS[:1], Scripted(odd=odd), out=tmp_path / "a", settings=settings)
    assert written.counts == {"kept": 2, "refused": 1, "empty": 1, "unchanged": 0, "cut off": 1}
    rows = [json.loads(line) for line in (tmp_path / "a" / "answers.jsonl").read_text().splitlines()]
    assert sum(written.counts.values()) == len(rows) == 5
    assert {row["answer"] for row in rows if row["outcome"] == "refused"} == {"I cannot do that."}


def test_an_interrupted_job_goes_on_and_asks_nothing_twice(tmp_path):
    whole = write_counterfactuals(TEXTS, ASKS, Scripted(), out=tmp_path / "whole", settings=SETTINGS)
    first, second = Scripted(fails_after=6), Scripted()
    with pytest.raises(ModelError, match="went away"):
        write_counterfactuals(TEXTS, ASKS, first, out=tmp_path / "a", settings=SETTINGS)
    resumed = write_counterfactuals(TEXTS, ASKS, second, out=tmp_path / "a", settings=SETTINGS)
    assert len(first.prompts) == 6 and len(second.prompts) == 2
    assert not set(first.prompts) & set(second.prompts)
    for name in ("answers.jsonl", "pairs.jsonl"):
        assert (resumed.path / name).read_bytes() == (whole.path / name).read_bytes()


def test_a_half_written_answer_behind_the_checkpoint_is_cut_off(tmp_path):
    with pytest.raises(ModelError):
        write_counterfactuals(TEXTS, ASKS, Scripted(fails_after=3), out=tmp_path / "a", settings=SETTINGS)
    with (tmp_path / "a.partial" / "answers.jsonl").open("a") as file:
        file.write('{"half": ')
    written = write_counterfactuals(TEXTS, ASKS, Scripted(), out=tmp_path / "a", settings=SETTINGS)
    assert written.pairs.n_pairs == 8


def test_a_finished_folder_is_opened_and_other_settings_are_refused(tmp_path):
    write_counterfactuals(TEXTS, ASKS, Scripted(), out=tmp_path / "a", settings=SETTINGS)
    again = Scripted(fails_after=0)
    assert write_counterfactuals(TEXTS, ASKS, again, out=tmp_path / "a", settings=SETTINGS).pairs.n_pairs == 8
    with pytest.raises(ArtifactError, match="made with other settings"):
        write_counterfactuals(TEXTS, ASKS[:1], again, out=tmp_path / "a", settings=SETTINGS)


def test_no_usable_answer_is_refused_with_the_counts(tmp_path):
    odd = {"pier": Answer("I cannot do that.", True)}
    with pytest.raises(ConfigError, match="no answer is usable \\(4 refused\\)"):
        write_counterfactuals(TEXTS, ASKS[:1], Scripted(odd=odd), out=tmp_path / "a", settings=SETTINGS)


def test_an_own_prompt_needs_both_places_and_leaves_braces_of_texts_alone(tmp_path):
    prompt = tmp_path / "prompt.txt"
    prompt.write_text("{instruction} Text: {text}")
    settings = CounterfactualSettings(n_texts=1, prompt=prompt)
    writer = Scripted()
    braces = Texts(["We walk {instruction} here."])
    written = write_counterfactuals(braces, ASKS[:1], writer, out=tmp_path / "a", settings=settings)
    assert writer.prompts == ["Put it into the past. Text: We walk {instruction} here."]
    assert written.pairs.pairs[0].after == "We walked {instruction} here."
    prompt.write_text("{text}")
    with pytest.raises(ConfigError, match=r"prompt.txt has no place {instruction}"):
        write_counterfactuals(braces, ASKS, writer, out=tmp_path / "b", settings=settings)


def test_long_texts_are_left_out_and_changes_must_be_named_once(tmp_path):
    with pytest.raises(ConfigError, match="no text has at most 3 characters"):
        write_counterfactuals(TEXTS, ASKS, Scripted(), out=tmp_path / "a", settings=CounterfactualSettings(max_chars=3))
    with pytest.raises(ConfigError, match="each factor once"):
        write_counterfactuals(TEXTS, ASKS[:1] * 2, Scripted(), out=tmp_path / "a")
    with pytest.raises(ConfigError, match="needs a factor and an instruction"):
        Ask(factor="tense", instruction=" ")


def test_a_local_model_answers_the_same_for_the_same_prompts():
    one = LocalWriter(model=tiny_model(), max_new_tokens=4, temperature=1.0, seed=1)
    first, again = one.write(["walk", "run"]), one.write(["walk", "run"])
    assert first == again and len(first) == 2
    assert LocalWriter(model=tiny_model(), max_new_tokens=4, temperature=1.0, seed=2).write(["walk", "run"]) != first
    assert one.identity["name"] == "tiny-llama-0" and one.identity["temperature"] == 1.0
    with pytest.raises(ConfigError, match="max_new_tokens"):
        LocalWriter(model=tiny_model(), max_new_tokens=0)
