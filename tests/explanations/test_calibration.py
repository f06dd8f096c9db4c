"""The passages that judges are calibrated on: both answers for each description, and marks where they belong."""

from bathyscope.explanations.calibration import calibration


def test_every_description_has_passages_that_fit_and_as_many_that_do_not():
    known = calibration()
    assert len(known) == 6
    for passages in known.values():
        assert [p.fires for p in passages] == [True] * 3 + [False] * 3
        assert all("[[" not in p.text and len(p.strings) == len(p.values) for p in passages)
    documents = [p.document for passages in known.values() for p in passages]
    assert len(set(documents)) == len(documents)


def test_the_tokens_that_are_meant_are_marked():
    ferry = calibration()["ships and boats"][0]
    assert ferry.marked() == "At noon the <<ferry>> left the harbour with"
    assert [string.strip() for string, is_marked in zip(ferry.strings, ferry.marks, strict=True) if is_marked] == [
        "ferry"
    ]
