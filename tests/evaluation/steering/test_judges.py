"""Judges of steered answers: right on what is known, and honest about it where they are not."""

import numpy as np
import pytest
from evaluation.steering.made_up import answer, definition, sea_and_money
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.evaluation.definitions import topic_definitions
from bathyscope.evaluation.steering.judges.asked import AskedJudge, KnownText
from bathyscope.evaluation.steering.judges.likelihood import FluencyJudge, Levels, Likelihoods, RelationJudge
from bathyscope.evaluation.steering.judges.meaning import MeaningJudge
from bathyscope.evaluation.steering.judges.words import WordsJudge
from bathyscope.models.writers.writer import Verdict


def shares(known) -> tuple[float, float]:
    """Sensitivity and specificity."""
    true = [row.rating >= 1 for row in known if row.is_true]
    false = [row.rating == 0 for row in known if not row.is_true]
    return float(np.mean(true)), float(np.mean(false))


def test_words_are_counted_once_each_in_any_case_and_ending():
    judge = WordsJudge(definitions=sea_and_money())
    texts = ["SHIPS, ships and shipping", "A sailing ship", "A friendship", "gold", ""]
    assert judge.rate([answer(text) for text in texts]) == [1, 2, 0, 0, 0]
    assert judge.rate([answer("gold coins", concept="money")]) == [2]
    assert shares(judge.calibration()) == (1.0, 1.0)


def test_a_concept_without_words_cannot_be_judged_by_them():
    with pytest.raises(ConfigError, match=r"\[sea\] has no `words`"):
        WordsJudge(definitions={"sea": definition("sea", ["a"], ["b"])})


def test_the_words_of_our_topics_tell_sentences_about_them():
    definitions = {each.labelled.name: each for each in topic_definitions()}
    sensitivity, specificity = shares(WordsJudge(definitions=definitions).calibration())
    assert len(definitions) == 10
    assert sensitivity > 0.8 and specificity > 0.95


def letters(letter: str) -> list[str]:
    generator = np.random.default_rng(ord(letter))
    return ["".join(generator.permutation(list(letter * 6 + "mno"))) for _ in range(24)]


def test_meaning_tells_texts_by_their_tokens_and_is_measured_on_sentences_it_has_not_seen():
    definitions = {
        name: definition(name, letters(letter), letters("x")) for name, letter in (("of a", "a"), ("of z", "z"))
    }
    judge = MeaningJudge(tiny_model(), definitions)
    assert judge.rate([answer("aaaaaa", concept="of a"), answer("zzzzz", concept="of a"), answer("", concept="of a")])[
        :2
    ] == [2, 0]
    assert min(shares(judge.calibration())) > 0.95
    mixed = [*letters("a")[:12], *letters("z")[:12]]
    noise = {
        name: definition(name, [mixed[int(i)] for i in order[:12]], [mixed[int(i)] for i in order[12:]])
        for name, order in (
            ("one", np.random.default_rng(1).permutation(24)),
            ("two", np.random.default_rng(2).permutation(24)),
        )
    }
    sensitivity, specificity = shares(MeaningJudge(tiny_model(), noise).calibration())
    assert sensitivity + specificity < 1.4, "labels that mean nothing cannot be told"


def test_levels_rate_few_noes_and_most_yeses():
    levels = Levels.between(np.arange(100.0), np.arange(100.0) + 200)
    assert (levels.some, levels.full) == pytest.approx((94.05, 224.75))
    assert [levels.rating(value) for value in (-np.inf, 94.0, 100.0, 230.0)] == [0, 0, 1, 2]
    overlapping = Levels.between(np.arange(100.0), np.arange(100.0) - 50)
    assert overlapping.full == overlapping.some, "a yes is never asked for less than a no"


def likelihoods_of(architecture: str) -> Likelihoods:
    prompts = tuple(letter * 12 for letter in "abcdefgh")
    return Likelihoods(model=tiny_model(architecture), instructions=prompts, max_new_tokens=40, seed=0)


@pytest.fixture(scope="module")
def likelihoods() -> Likelihoods:
    return likelihoods_of("gpt_neox")


def test_the_models_own_answers_are_fluent_and_their_tokens_in_random_order_are_not(likelihoods):
    judge = FluencyJudge.fit(likelihoods)
    sensitivity, specificity = shares(judge.calibration())
    assert sensitivity > 0.85 and specificity > 0.85
    assert judge.rate([answer(tokens=(65,) * 20), answer(tokens=())]) == [0, 0], "repetition and silence are not fluent"


def test_an_answer_belongs_to_the_instruction_that_it_was_given_to(likelihoods):
    judge = RelationJudge.fit(likelihoods)
    sensitivity, specificity = shares(judge.calibration())
    assert sensitivity > 0.6 and specificity > 0.85
    assert judge.rate([answer(tokens=())]) == [0]


def test_no_relation_is_seen_where_the_model_cannot_see_the_instruction():
    sensitivity, _ = shares(RelationJudge.fit(likelihoods_of("mistral")).calibration())
    assert sensitivity < 0.2, "its attention reaches five tokens back"


def test_likelihoods_are_read_once(likelihoods, monkeypatch):
    rows = [likelihoods.samples[0].tokens]
    first = likelihoods.alone(rows)
    monkeypatch.setattr("bathyscope.evaluation.steering.judges.likelihood.log_probs_behind", lambda *_: [])
    assert likelihoods.alone(rows) == first


class Digits:
    """Says 2 to what holds a word, 0 to other texts, and nothing to an empty one."""

    def __init__(self):
        self.identity, self.materials, self.fills = {"name": "digits"}, (), True

    def write(self, prompts):
        raise AssertionError("this judge is never asked to write")

    def choose(self, questions):
        found = []
        for question in questions:
            text = question.prompt.rpartition("Text: ")[2]
            p = (0.0, 0.0, 0.0) if text.startswith("\n") else (0.1, 0.2, 0.7) if "ship" in text else (0.9, 0.1, 0.0)
            found.append(Verdict(p=(p,)))
        return found


def test_a_model_that_is_asked_says_a_digit_or_nothing():
    known = [KnownText(answer("a ship"), True, "1"), KnownText(answer("a hat"), False, "2")]
    judge = AskedJudge(judge=Digits(), aspect="concept", descriptions={"sea": "the sea"}, known=known)
    assert judge.name == "digits"
    assert judge.rate([answer("ship"), answer("hat"), answer("")]) == [2, 0, None]
    assert shares(judge.calibration()) == (1.0, 1.0)
