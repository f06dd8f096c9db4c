"""Which explanations are judged, and which must not be: of another index, or of other halves."""

import pytest
from explanations.letters import Reader, letter_dictionary, letter_index
from tiny import tiny_model

from bathyscope.errors import ConfigError
from bathyscope.explanations.explain import explain
from bathyscope.explanations.explained import explained
from bathyscope.explanations.mutual_information import MutualInformation
from bathyscope.explanations.passages import PassageSettings
from bathyscope.explanations.written import WriteSettings, write_explanations


@pytest.fixture
def written(letter_world, tmp_path):
    settings = WriteSettings(only=(0, 2))
    return write_explanations(
        letter_world, Reader(says="a letter"), out=tmp_path / "w", settings=settings, answers=tmp_path / "a.jsonl"
    ).path


def test_written_descriptions_are_taken_as_they_are(letter_world, written):
    assert explained(written, letter_world.path, PassageSettings()) == {0: "a letter", 2: "a letter"}
    assert list(explained(written, letter_world.path, PassageSettings(), n_features=1)) == [0]


def test_words_stand_for_a_description(letter_world, tmp_path):
    method = MutualInformation(n_words=50, words_per_feature=5, n_random=40)
    words = explain(letter_world, method, model=tiny_model(), dictionary=letter_dictionary(), out=tmp_path / "e")
    found = explained(words.path, letter_world.path, PassageSettings())
    assert found[0] == ", ".join(word.word for word in words.words(0))


def test_other_halves_would_meet_the_same_documents(letter_world, written):
    with pytest.raises(ConfigError, match=r"half of documents of seed 0, asked is seed 1: .* use seed 0"):
        explained(written, letter_world.path, PassageSettings(seed=1))


def test_another_index_is_refused(written, tmp_path, monkeypatch):
    monkeypatch.setattr("explanations.letters.WORDS", ("zone", "quiet", "joy", "axis", "vine", "robin", "sky", "gale"))
    other = letter_index(tmp_path / "other")
    with pytest.raises(ConfigError, match="explains another index"):
        explained(written, other.path, PassageSettings())
