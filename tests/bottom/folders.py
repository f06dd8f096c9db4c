"""Small artifact folders for the tests of their life."""

import time
from pathlib import Path
from typing import Any

from bathyscope.artifacts import Recipe, draft


def recipe(**changes: Any) -> Recipe:
    return Recipe(**{"kind": "scores", "config": {"n": 3, "rate": 0.5}, "seed": 1, **changes})


def make(out: Path, given: Recipe | None = None, *, content: str = "hello") -> Path:
    with draft(out, given or recipe()) as work:
        (work.path / "rows.jsonl").write_text(content)
        (work.path / "deep").mkdir()
        (work.path / "deep" / "a.bin").write_bytes(b"\0\1")
        work.log(tokens_per_second=time.perf_counter())
    return out


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def count_to(out: Path, last: int, *, stop_at: int | None = None) -> list[int]:
    """Write the numbers up to `last`, one checkpoint each; return those written in this sitting."""
    sitting: list[int] = []
    with draft(out, recipe()) as work:
        state = work.state() or {"done": 0}
        for number in range(state["done"] + 1, last + 1):
            (work.path / f"{number}.txt").write_text(str(number))
            if number == stop_at:
                raise KeyboardInterrupt
            work.checkpoint({"done": number})
            sitting.append(number)
    return sitting
