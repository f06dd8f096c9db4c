"""Runs in processes of their own."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

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


def report_for_ever(number: int) -> int:
    while True:
        progress.report("inner", os.getpid(), 1, "steps")
        time.sleep(0.05)


CALLER = """
import sys
sys.path.insert(0, {tests!r})
from evaluation.test_side_by_side import report_for_ever
from bathyscope import progress
from bathyscope.evaluation.side_by_side import side_by_side
if __name__ == "__main__":
    with progress.listening(lambda step: print("running", flush=True)):
        list(side_by_side(report_for_ever, [1, 2], stage="outer"))
"""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
def test_no_process_is_left_when_the_caller_is(end, tmp_path):
    script = tmp_path / "caller.py"
    script.write_text(CALLER.format(tests=str(Path(__file__).parent.parent)))
    command = [sys.executable, str(script)]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen(command, start_new_session=True, **quiet) as caller:
        assert caller.stdout is not None and caller.stdout.readline() == "running\n"
        caller.send_signal(end)
        caller.wait(20)
    if not is_gone(caller.pid, seconds=10.0):
        os.killpg(caller.pid, signal.SIGKILL)
        pytest.fail("workers outlived their caller")


def is_gone(group: int, *, seconds: float) -> bool:
    """Whether no process of the group is left within so many seconds."""
    for _ in range(round(seconds / 0.1)):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
