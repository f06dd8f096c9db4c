"""Prompts are files that a person may edit; an empty one or one without its places is refused by name."""

from importlib import resources

import pytest

from bathyscope.errors import ConfigError
from bathyscope.explanations.prompts import PLACES, prompt


@pytest.mark.parametrize("name", PLACES)
def test_every_prompt_of_the_library_has_its_places(name):
    text = prompt(name).text
    assert all(text.count(f"{{{place}}}") == 1 for place in PLACES[name])
    assert prompt(name).fill(**dict.fromkeys(PLACES[name], "⟨filled⟩")).count("⟨filled⟩") == len(PLACES[name])


def test_no_file_is_left_out_of_the_list():
    files = {entry.name for entry in resources.files("bathyscope.explanations.prompts").iterdir()}
    assert {name for name in files if name.endswith(".txt")} == {f"{name}.txt" for name in PLACES}


def test_an_edited_prompt_is_taken_and_has_another_digest(tmp_path):
    (tmp_path / "detection.txt").write_text("{explanation}? {text}")
    own = prompt("detection", tmp_path)
    assert own.fill(explanation="ships", text="a ferry") == "ships? a ferry"
    assert own.digest != prompt("detection").digest
    assert prompt("fuzzing", tmp_path) == prompt("fuzzing"), "what is not edited is the library's"


def test_what_is_filled_in_is_not_searched_for_places():
    filled = prompt("detection").fill(explanation="{text}", text="{explanation}")
    assert "Description: {text}\nText: {explanation}" in filled


@pytest.mark.parametrize(
    ("text", "line"), [(" \n", "detection.txt is empty"), ("{text}", r"has no place \{explanation\}; .* needs")]
)
def test_a_prompt_that_cannot_work_is_refused_by_name(tmp_path, text, line):
    (tmp_path / "detection.txt").write_text(text)
    with pytest.raises(ConfigError, match=line):
        prompt("detection", tmp_path)


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        prompt("detection", tmp_path / "nothing")
