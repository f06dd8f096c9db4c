"""Recipes at reduced size: their figures are within the ranges that `expected.json` states for it."""

import json

import pytest
from recipes.recipe import RECIPES, recipe

from bathyscope.evaluation.expected import outside, read_expected

NAMES = sorted(path.parent.name for path in RECIPES.glob("*/run.py"))


@pytest.mark.parametrize(
    "name", ["addition", "balls", pytest.param("behaviours", marks=pytest.mark.real), "digits", "shifts"]
)
def test_the_small_recipe_gives_what_it_should(name, tmp_path):
    run = recipe(name)
    rows = run.measure(run.SMALL, tmp_path)
    expected = read_expected(RECIPES / name / "expected.json", "small")
    assert len(expected) >= 5, "nothing would be checked"
    assert outside(run.figures(rows), expected) == []
    assert run.measure(run.SMALL, tmp_path) == rows, "a finished run is read"


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_has_a_page_and_ranges_for_its_full_size(name):
    ranges = json.loads((RECIPES / name / "expected.json").read_text())
    assert ranges["full"], "the full recipe checks something"
    read_expected(RECIPES / name / "expected.json", "full")
    page = (RECIPES / name / "README.md").read_text()
    assert f"recipes/{name}/run.py" in page
