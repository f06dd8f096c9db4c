"""How a subcommand meets the terminal: options, progress, results, errors and exit codes."""

import contextlib
import errno
import importlib
import io
import json
import logging
import math
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import tyro
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bathyscope import runtime
from bathyscope.cli.command import TOGETHER, Entry
from bathyscope.errors import BathyscopeError, ConfigError
from bathyscope.progress import Step, listening

EXIT_BAD_INPUT, EXIT_INTERRUPTED = 2, 130
PLAIN_LINE_SECONDS = 5.0


def run_command(name: str, entry: Entry, arguments: Sequence[str]) -> int:
    """Parse `arguments` into the subcommand's dataclass, run it, and turn what happens into an exit code."""
    if runtime.is_in_group() and not entry.together:
        line = f"{name} is run by one process; several together can run {', '.join(TOGETHER)}"
        return _say_error(ConfigError(line), as_json="--json" in arguments)
    module = importlib.import_module(entry.module)
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            config = tyro.cli(
                getattr(module, entry.config),
                args=arguments,
                prog=f"bathyscope {name}",
                description=entry.help,
                config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes),
            )
    except SystemExit as stop:
        if not stop.code:
            return 0
        line = f"{_one_line(complaint.getvalue())}; see bathyscope {name} --help"
        return _say_error(ConfigError(line), as_json="--json" in arguments)
    runtime.keep_freed_memory()
    return _guarded(lambda: module.run(config), as_json=config.json)


def result(figures: Mapping[str, Any], *, as_json: bool) -> None:
    """Print the outcome of a stage: one JSON object, or aligned `name value` lines; of several processes the first."""
    if not runtime.is_first():
        return
    if as_json:
        print(json.dumps({"event": "result", **figures}), flush=True)
        return
    width = max((len(name) for name in figures), default=0)
    for name, value in figures.items():
        print(f"{name:<{width}}  {_shown(value)}", flush=True)


def say(text: str, *, as_json: bool) -> None:
    """Print a line for people; nothing with `--json`, nor from any process but the first."""
    if not as_json and runtime.is_first():
        print(text, flush=True)


def _guarded(job: Callable[[], int | None], *, as_json: bool) -> int:
    """The exit code of a job: what it returns, 0 for None, or what stands for the exception that ended it."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("bathyscope").setLevel(logging.INFO)
    try:
        with _terminated_like_ctrl_c(), _progress(as_json=as_json):
            return job() or 0
    except KeyboardInterrupt:
        print("interrupted; run the same command again to resume", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BathyscopeError as error:
        return _say_error(error, as_json=as_json)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        return _say_error(error, as_json=as_json)


def _one_line(box: str) -> str:
    """What tyro says in a box of several lines, as one: frame, rules and its pointer to the help are left out."""
    lines = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    rule = next((n for n, line in enumerate(lines) if line.startswith("For full helptext")), len(lines))
    said = [line.replace(" (required)", "") for line in lines[:rule] if line.strip("─ ")]
    return " ".join(said) or " ".join(box.split())


def _say_error(error: Exception, *, as_json: bool) -> int:
    line = " ".join(str(error).split())
    if as_json and runtime.is_first():
        print(json.dumps({"event": "error", "error": type(error).__name__, "message": line}), flush=True)
    print(f"error: {line}", file=sys.stderr)
    return EXIT_BAD_INPUT


@contextmanager
def _terminated_like_ctrl_c() -> Iterator[None]:
    """Let SIGTERM unwind the stack as Ctrl-C does, so that a polite kill leaves a resumable folder."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _progress(*, as_json: bool) -> Iterator[None]:
    if not runtime.is_first():
        yield
    elif as_json:
        with listening(_json_step):
            yield
    elif sys.stderr.isatty():
        with _bars() as bars, listening(_BarSink(bars)):
            yield
    else:
        with listening(_LineSink()):
            yield


def _json_step(step: Step) -> None:
    fields = {"event": "progress", "stage": step.stage, "done": step.done, "total": step.total, "unit": step.unit}
    print(json.dumps({**fields, **step.figures}), flush=True)


def _bars() -> Progress:
    from rich.console import Console

    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} {task.fields[unit]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[figures]}"),
    )
    return Progress(*columns, console=Console(stderr=True))


class _BarSink:
    """One rich bar per stage."""

    def __init__(self, bars: Progress) -> None:
        self.bars, self.tasks = bars, dict[str, TaskID]()

    def __call__(self, step: Step) -> None:
        if step.stage not in self.tasks:
            self.tasks[step.stage] = self.bars.add_task(step.stage, total=step.total or None, unit="", figures="")
        figures = _figures(step)
        self.bars.update(self.tasks[step.stage], completed=step.done, total=step.total, unit=step.unit, figures=figures)


class _LineSink:
    """A plain line every few seconds, for logs and pipes."""

    def __init__(self) -> None:
        self.stage, self.started, self.said, self.first = "", 0.0, 0.0, 0

    def __call__(self, step: Step) -> None:
        now = time.monotonic()
        if step.stage != self.stage:
            self.stage, self.started, self.said, self.first = step.stage, now, 0.0, step.done
        if now - self.said < PLAIN_LINE_SECONDS and step.done != step.total:
            return
        self.said = now
        left = _time_left(step, now - self.started, self.first)
        print(
            f"{step.stage}: {step.done:,}/{step.total:,} {step.unit} {_figures(step)}{left}",
            file=sys.stderr,
            flush=True,
        )


def _time_left(step: Step, elapsed: float, first: int) -> str:
    done = step.done - first
    if done <= 0 or step.total <= step.done:
        return ""
    seconds = elapsed * (step.total - step.done) / done
    return f" {seconds:,.0f} s left" if seconds >= 1 else ""


def _figures(step: Step) -> str:
    return " ".join(f"{name.replace('_', ' ')} {_shown(value)}" for name, value in step.figures.items())


def _shown(value: object) -> str:
    if isinstance(value, float):
        if value == 0 or not math.isfinite(value):
            return f"{value:g}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
