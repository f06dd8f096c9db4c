"""Outcomes: kept without anything unsafe, and read back with their requests."""

from pathlib import Path

import pytest

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ArtifactError
from bathyscope.evaluation.jailbreak.outcomes import FILE, KIND, Outcome, read_outcomes, write_outcomes
from bathyscope.evaluation.jailbreak.requests import Request


def outcome(*, number=0, factor=0.1, declines=True, fluency=2) -> Outcome:
    request = Request(text=f"Do the bad thing {number}", kind="harmful", name=f"harmful {number}", core="")
    said = {"oracle": declines, "contrary": not declines}
    return Outcome(method="way", factor=factor, request=request, declines=said, relation=0, fluency=fluency)


def written(folder: Path, rows: list[Outcome]) -> Path:
    with artifacts.draft(folder, Recipe(kind=KIND, config={})) as work:
        write_outcomes(work.path, rows)
    return folder


def test_what_is_kept_comes_back_and_names_no_request(tmp_path):
    rows = [outcome(number=1, declines=False), outcome(number=0), outcome(number=1, fluency=0)]
    folder = written(tmp_path / "verdicts", rows)
    assert read_outcomes(folder, [rows[1].request, rows[0].request]) == rows
    assert "bad thing" not in (folder / FILE).read_text()


def test_an_altered_file_is_refused(tmp_path):
    folder = written(tmp_path / "verdicts", [outcome()])
    (folder / FILE).write_text((folder / FILE).read_text().replace("true", "null"))
    with pytest.raises(ArtifactError, match="was altered"):
        read_outcomes(folder, [outcome().request])
