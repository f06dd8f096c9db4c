"""Progress goes to whoever listens, and to nobody otherwise."""

import contextvars

import pytest

from bathyscope.progress import Step, listening, report


def test_without_a_listener_nothing_happens(capsys: pytest.CaptureFixture[str]) -> None:
    report("collect", 1, 2, "tokens")
    assert capsys.readouterr() == ("", "")


def test_a_listener_gets_every_step_of_its_block_and_none_after() -> None:
    heard: list[Step] = []
    with listening(heard.append):
        report("train", 3, 10, "steps", loss=0.5, note="warm")
    report("train", 4, 10, "steps")
    assert heard == [Step(stage="train", done=3, total=10, unit="steps", figures={"loss": 0.5, "note": "warm"})]


def test_the_inner_listener_replaces_the_outer_one_until_its_block_ends() -> None:
    outer: list[int] = []
    inner: list[int] = []
    with listening(lambda step: outer.append(step.done)):
        report("s", 1, 3, "u")
        with listening(lambda step: inner.append(step.done)):
            report("s", 2, 3, "u")
        report("s", 3, 3, "u")
    assert (outer, inner) == ([1, 3], [2])


def test_an_exception_ends_the_listening() -> None:
    heard: list[Step] = []
    with pytest.raises(ZeroDivisionError), listening(heard.append):
        _ = 1 / 0
    report("s", 1, 1, "u")
    assert heard == []


def test_listeners_of_separate_contexts_do_not_hear_each_other() -> None:
    heard: list[Step] = []
    elsewhere = contextvars.copy_context()
    with listening(heard.append):
        elsewhere.run(report, "s", 1, 1, "u")
    assert heard == []
