"""The text of an answer, however its bytes are cut."""

import pytest

from bathyscope.serving.wording import Wording


def said(pieces: list[bytes], stops: tuple[str, ...] = ()) -> tuple[list[str], Wording]:
    wording = Wording(stops)
    found: list[str] = []
    for piece in pieces:
        found.append(wording.push(piece))
        if wording.is_stopped:
            return found, wording
    return [*found, wording.finish()], wording


def test_a_character_is_said_when_it_is_whole():
    assert said([b"a", "é".encode()[:1], "é".encode()[1:]])[0] == ["a", "", "é", ""]


def test_bytes_that_are_no_text_are_replaced_at_the_end():
    assert "".join(said([b"a\xff", b"\xe2\x80"])[0]) == "a��"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 40])
def test_a_stop_string_is_found_wherever_it_is_cut(size):
    data = b"one END ENOUGH two"
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    found, wording = said(pieces, ("ENOUGH", "never"))
    assert "".join(found) == "one END "
    assert wording.is_stopped
    assert wording.n_said == 8


def test_the_earliest_stop_string_counts():
    assert "".join(said([b"abcdef"], ("e", "bc"))[0]) == "a"


def test_what_only_looked_like_a_stop_string_is_said_in_the_end():
    found, wording = said([b"x EN", b"O", b"U"], ("ENOUGH",))
    assert found == ["x ", "", "", "ENOU"]
    assert not wording.is_stopped
