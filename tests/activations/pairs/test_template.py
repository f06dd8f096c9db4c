"""The template language: values, articles, capitals, agreement, and everything that can be wrong, by name."""

import pytest
from activations.pairs.small_pairs import template

from bathyscope.activations.pairs.template import parse_template, read_template
from bathyscope.errors import ConfigError

AGREEING = {
    "text": {"by": ["language"], "values": ["{Who} is glad", "{Who} est content{e}"]},
    "factors": {"language": ["English", "French"], "gender": ["male", "female"]},
    "context": {"who": {"by": ["language", "gender"], "values": {
        "king": [["the king", "the queen"], ["le roi", "la reine"]],
        "actor": {"English": {"male": "the actor", "female": "the actress"}, "French": ["l'acteur", "l'actrice"]},
    }}},
    "forms": {"e": {"by": ["gender"], "values": ["", "e"]}},
}  # fmt: skip


def test_values_articles_and_capitals():
    things = template()
    red = {"colour": "red", "shape": "flat", "thing": "box", "place": "here"}
    assert things.write(red) == "A red flat box here"
    assert things.write({**red, "colour": "orange"}) == "An orange flat box here"
    said = template(text="{Colour}: {a shape}, {{{thing}}}")
    assert said.write(red) == "Red: a flat, {box}"


def test_forms_agree_with_what_they_depend_on_in_tables_and_in_lists():
    glad = parse_template(AGREEING, name="glad")
    assert glad.context == {"who": ("king", "actor")}
    written = {
        (who, language, gender): glad.write({"who": who, "language": language, "gender": gender})
        for who in ("king", "actor")
        for language in ("English", "French")
        for gender in ("male", "female")
    }
    assert written["king", "French", "female"] == "La reine est contente"
    assert written["king", "French", "male"] == "Le roi est content"
    assert written["actor", "English", "female"] == "The actress is glad"
    assert written["actor", "French", "male"] == "L'acteur est content"


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"texts": "x"}, r"no entry is named 'texts'; did you mean text\?"),
        ({"text": "{colr} box"}, "nothing is named 'colr'; nearest: colour"),
        ({"text": "a { box"}, "a lonely brace"),
        ({"factors": {}}, "needs an entry text and at least one factor"),
        ({"factors": {"colour": ["red", "red"], "shape": ["flat", "round"]}}, "'colour' needs a list of values"),
        ({"context": {"colour": ["x", "y"]}}, "'colour' is a factor and a context"),
        ({"changes": {"colour + size": 1}}, r"\[changes\]: nothing is named 'size'"),
        ({"changes": {"colour": 0}}, "some change must have a share above 0"),
        ({"at_most": 3}, "at_most is 1 … 2 and stands in place of"),
        ({"starts": {"colour": ["green"]}}, "nothing is named 'green'"),
        ({"group_by": ["colour"]}, "group_by: nothing is named 'colour'"),
        ({"forms": {"e": {"by": ["gender"], "values": []}}}, "nothing is named 'gender'"),
        ({"forms": {"e": {"by": ["shape"], "values": ["x"]}}}, "e says nothing for shape 'flat'; add it"),
        ({"forms": {"e": {"by": ["shape"], "values": {"flat": "x"}}}}, "e says nothing for shape 'round'; add it"),
        ({"forms": {"e": ["x"]}}, "'e' needs a text, or a table of `by` and `values`"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_by_name_before_anything_is_drawn(changes, line):
    with pytest.raises(ConfigError, match=line):
        template(**changes)


def test_forms_in_a_circle_are_refused():
    circle = template(text="{x}", forms={"x": "{y}", "y": "{x}"})
    with pytest.raises(ConfigError, match="a circle"):
        circle.write({"colour": "red", "shape": "flat", "thing": "box", "place": "here"})


def test_a_file_is_read_and_a_broken_one_named(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text('text = "{a colour} box"\nat_most = 1\n[factors]\ncolour = ["red", "orange"]\n')
    own = read_template(path)
    assert own.name == "own" and own.changes == {("colour",): 1.0}
    assert own.write({"colour": "orange"}) == "an orange box"
    path.write_text("text = \n")
    with pytest.raises(ConfigError, match=r"own.toml is not TOML"):
        read_template(path)
    with pytest.raises(ConfigError, match="no template at"):
        read_template(tmp_path / "none.toml")
