"""Runs in processes of their own."""

import pytest
import torch

from bathyscope import progress
from bathyscope.errors import ConfigError
from bathyscope.evaluation.side_by_side import side_by_side


def threads_and_square(number: int) -> tuple[int, int]:
    progress.report("inner", 1, 2, "steps")
    progress.report("inner", 2, 2, "steps")
    return torch.get_num_threads(), number * number


def fail(number: int) -> int:
    raise ConfigError(f"run {number} cannot be")


def test_every_argument_comes_back_with_its_result_from_one_thread():
    steps: list[progress.Step] = []
    with progress.listening(steps.append):
        found = dict(side_by_side(threads_and_square, [2, 3, 5], stage="outer", n_workers=2))
    assert found == {2: (1, 4), 3: (1, 9), 5: (1, 25)}
    assert steps and {step.stage for step in steps} == {"outer"}
    assert all(0 <= step.done <= step.total == 300 for step in steps)


def test_an_error_in_a_run_is_the_callers():
    with pytest.raises(ConfigError, match="run 1 cannot be"):
        list(side_by_side(fail, [1], stage="outer"))
