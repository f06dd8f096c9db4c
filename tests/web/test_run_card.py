"""Licences decide what may be passed on; texts belong to their materials."""

import pytest

from bathyscope.web.run_card import is_open, is_part


@pytest.mark.parametrize(
    "licence",
    [
        "Apache-2.0",
        "MIT",
        "public domain (texts), MIT (package)",
        "CC-BY-SA-4.0",
        "PSF-2.0",
        "CC0 1.0",
        "Unlicense",
        "LGPL-LR",
    ],
)
def test_open_licences_are_recognised(licence: str) -> None:
    assert is_open(licence)


@pytest.mark.parametrize(
    "licence", ["unknown", "not stated", "", "CC-BY-NC-4.0", "CC BY-ND", "Gemma terms", "not permitted", "limited"]
)
def test_whatever_is_not_plainly_open_is_for_local_use(licence: str) -> None:
    assert not is_open(licence)


def test_a_text_belongs_to_the_material_that_it_is_a_part_of() -> None:
    assert is_part("catholic-bible/pt", "catholic-bible")
    assert is_part("python:stdlib", "python:stdlib")
    assert not is_part("catholic-bible-2", "catholic-bible")
