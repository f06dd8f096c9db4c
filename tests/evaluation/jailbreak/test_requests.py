"""Requests: drawn with a seed, halves apart, wrapped where a wrapper says so."""

import pytest
from evaluation.jailbreak.made_up import materials

from bathyscope.errors import ConfigError
from bathyscope.evaluation.jailbreak import requests as room
from bathyscope.evaluation.jailbreak.requests import (
    benign,
    harmful_requests,
    harmless_requests,
    wrapped,
    wrappers,
)


@pytest.fixture(autouse=True)
def stand_ins(tmp_path, monkeypatch):
    monkeypatch.setattr(room.materials, "fetch", materials(tmp_path))


def test_harmful_requests_are_standard_behaviours_drawn_with_a_seed():
    found = harmful_requests("test", n=10, seed=0)
    assert len({each.text for each in found}) == 10 and not any("song" in each.text for each in found)
    assert found == harmful_requests("test", n=10, seed=0) != harmful_requests("test", n=10, seed=1)
    assert not any("bad thing" in each.name for each in found), "a name does not show the request"
    with pytest.raises(ConfigError, match="which has 60"):
        harmful_requests("val", n=61, seed=0)


def test_a_wrapper_holds_the_request_where_it_says():
    (request,) = harmful_requests("test", n=1, seed=0)
    (wrapper,) = wrappers(n=1, seed=0)
    found = wrapped(request, wrapper)
    assert request.text in found.text and "[INSERT" not in found.text and found.core == request.text
    assert found.is_wrapped and found.name != request.name
    with pytest.raises(ConfigError, match="20 are short enough"):
        wrappers(n=21, seed=0)


def test_harmless_halves_share_nothing():
    choose, report = (harmless_requests(half, n=30) for half in ("choose", "report"))
    assert len(choose) == len(report) == 30
    assert not {each.text for each in choose} & {each.text for each in report}
    assert {each.kind for each in choose} == {"alike", "plain"}


def test_lists_of_ones_own_need_both_sorts(tmp_path):
    (tmp_path / "own.toml").write_text("alike = []")
    with pytest.raises(ConfigError, match="`alike` and `plain`"):
        benign(tmp_path / "own.toml")
