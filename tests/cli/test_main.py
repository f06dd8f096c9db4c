"""The command line without any stage: overview, unknown names, exit codes, errors, progress."""

import errno
import json
import subprocess
import sys
from dataclasses import dataclass

import pytest

from bathyscope import progress
from bathyscope.cli import main
from bathyscope.cli.command import COMMANDS, Command, Entry
from bathyscope.cli.terminal import run_command
from bathyscope.errors import ArtifactError, ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Fake(Command):
    """A stage made for these tests."""

    fail: str = ""
    """What should go wrong."""


def run(config: Fake) -> None:
    progress.report("fake", 1, 2, "steps", loss=0.5)
    progress.report("fake", 2, 2, "steps", loss=0.25)
    match config.fail:
        case "input":
            raise ConfigError("k is 9,\nlarger than 8; choose a smaller k")
        case "folder":
            raise ArtifactError("runs/a does not exist")
        case "disk":
            raise OSError(errno.ENOSPC, "No space left on device", "runs/a")
        case "ctrl-c":
            raise KeyboardInterrupt
        case "bug":
            raise ZeroDivisionError
        case _:
            return


FAKE = Entry(__name__, "Fake", "A stage made for these tests.")


def call(*arguments: str) -> int:
    return run_command("fake", FAKE, arguments)


def test_overview_lists_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text and entry.help in text for name, entry in COMMANDS.items())


BENCHES = [["bench", name] for name in ("recovery", "synthsaebench-16k", "shifts", "language")]


@pytest.mark.parametrize("words", [[name] for name in COMMANDS] + BENCHES, ids=" ".join)
def test_every_command_and_every_bench_can_be_asked_for_help(words, capsys):
    assert main([*words, "--help"]) == 0
    assert " ".join(words) in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--help"], ["collect", "--help"]])
def test_a_reader_that_has_gone_ends_the_command_without_a_traceback(words):
    command = [sys.executable, "-c", "import sys; from bathyscope.cli import main; sys.exit(main())", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == ""
    assert process.returncode == 141


def test_unknown_command_names_the_nearest_and_exits_two(capsys):
    assert main(["colect"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "error: no command named 'colect'; did you mean collect?\n"


def test_overview_imports_neither_torch_nor_transformers():
    heavy = "{'torch', 'transformers', 'numpy'} & set(sys.modules)"
    code = f"import sys; from bathyscope.cli import main; main(['--help']); print(sorted({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize(
    ("fail", "line"),
    [
        ("input", "error: k is 9, larger than 8; choose a smaller k"),
        ("folder", "error: runs/a does not exist"),
        ("disk", "error: [Errno 28] No space left on device: 'runs/a'"),
    ],
)
def test_bad_input_is_one_line_and_exit_two(fail, line, capsys):
    assert call("--fail", fail) == 2
    assert capsys.readouterr().err.splitlines()[-1] == line


def test_unknown_option_exits_two(capsys):
    assert call("--fial", "input") == 2
    assert "fial" in capsys.readouterr().err


def test_ctrl_c_says_how_to_resume(capsys):
    assert call("--fail", "ctrl-c") == 130
    assert "run the same command again to resume" in capsys.readouterr().err


def test_a_bug_is_not_hidden():
    with pytest.raises(ZeroDivisionError):
        call("--fail", "bug")


def test_json_prints_one_object_per_step_and_errors_too(capsys):
    assert call("--json", "--fail", "input") == 2
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == {"event": "progress", "stage": "fake", "done": 1, "total": 2, "unit": "steps", "loss": 0.5}
    assert rows[-1] == {
        "event": "error",
        "error": "ConfigError",
        "message": "k is 9, larger than 8; choose a smaller k",
    }


def test_progress_goes_to_standard_error_as_text(capsys):
    assert call() == 0
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1] == "fake: 2/2 steps loss 0.25"


def test_help_shows_the_docstring_of_each_field(capsys):
    assert call("--help") == 0
    assert "What should go wrong." in capsys.readouterr().out
