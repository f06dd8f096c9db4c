"""Every stage through the command line, on a random model and a handful of texts: no network, seconds.

Killed in the middle of each stage, the run resumes to the same bytes as one that was never interrupted.
"""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import tiny_model

from bathyscope import artifacts

TEXT = "the sea under glass shows fish and light while rope sail wind carry us over deep water again"
WORDS = TEXT.split()
STAGES = ("collect", "train", "index", "explain", "evaluate", "choose", "steer")
FOLDERS = (
    "activations",
    "candidates",
    "dictionary",
    "explanations",
    "features",
    "generations",
    "scores",
    "steering-scores",
)


@pytest.fixture(scope="module")
def materials(tmp_path_factory) -> Path:
    """A folder with a saved tiny model and 60 short texts."""
    folder = tmp_path_factory.mktemp("materials")
    model = tiny_model()
    model.network.save_pretrained(folder / "model")
    model.tokenizer.save_pretrained(folder / "model")
    (folder / "texts").mkdir()
    for n in range(60):
        words = [WORDS[(n * 7 + i * i) % len(WORDS)] for i in range(40)]
        (folder / "texts" / f"{n:02}.txt").write_text(" ".join(words) + ".")
    return folder


def command(materials: Path, out: Path) -> list[str]:
    sizes = {
        "--n-tokens": 9000,
        "--n-features": 96,
        "--k": 4,
        "--evaluate-tokens": 600,
        "--n-candidates": 4,
        "--n-steered": 2,
        "--max-new-tokens": 6,
        "--max-density": 1.0,
    }
    settings = [word for name, value in sizes.items() for word in (name, str(value))]
    where = ["--model", str(materials / "model"), "--text", str(materials / "texts"), "--hookpoint", "layers.1"]
    return [sys.executable, "-m", "bathyscope", "demo", "--json", "--out", str(out), *where, *settings]


def environment() -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}


def finish(arguments: list[str]) -> list[dict[str, object]]:
    done = subprocess.run(arguments, capture_output=True, text=True, check=False, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


def kill_in_stage(arguments: list[str], stage: str) -> None:
    """Start the run and SIGKILL it at the first progress event of `stage`."""
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as run:
        assert run.stdout is not None
        for line in run.stdout:
            event = json.loads(line)
            if event["event"] == "progress" and event["stage"] == stage:
                run.send_signal(signal.SIGKILL)
                break
        run.stdout.close()
        assert run.stderr is not None
        errors = run.stderr.read()
        assert run.wait() == -signal.SIGKILL, f"no progress seen from {stage}: {errors[-2000:]}"


def digests(run: Path) -> dict[str, str]:
    return {name: artifacts.verify(run / name).digest for name in FOLDERS}


@pytest.fixture(scope="module")
def whole(materials, tmp_path_factory) -> Path:
    """The run folder of an uninterrupted run."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    events = finish(command(materials, out))
    assert {event["stage"] for event in events if event["event"] == "progress"} >= set(STAGES)
    return out


def test_every_stage_leaves_a_whole_artifact_and_a_page(whole):
    assert set(digests(whole)) == set(FOLDERS)
    page = (whole / "page.html").read_text()
    assert "<title>" in page
    assert "http://" not in page.replace("http://www.w3.org", "") and 'src="http' not in page


def test_the_documents_list_every_file_of_every_kind(whole):
    table = (Path(__file__).parents[1] / "docs" / "artifacts.md").read_text()
    rows = {row.split("`")[1]: row for row in table.splitlines() if row.startswith("| `")}
    for folder in FOLDERS:
        manifest = artifacts.read_manifest(whole / folder)
        names = {re.sub(r"\d{5}", "*", name) for name in manifest.files}
        assert names == set(re.findall(r"`([\w*-]+\.\w+)`", rows[manifest.kind])), folder


def test_a_second_run_finds_everything_done(whole, materials):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*") if path.name == "manifest.json"}
    events = finish(command(materials, whole))
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert {event["stage"] for event in events if event["event"] == "progress"} <= {"export"}


def test_killed_in_every_stage_the_run_resumes_to_the_same_bytes(whole, materials, tmp_path):
    out = tmp_path / "killed"
    for stage in STAGES:
        kill_in_stage(command(materials, out), stage)
    finish(command(materials, out))
    assert digests(out) == digests(whole)
    assert (out / "page.html").exists()
    assert not list(out.glob("*.partial"))


def test_other_settings_are_refused_and_nothing_changes(whole, materials):
    before = digests(whole)
    done = subprocess.run(
        [*command(materials, whole), "--seed", "1"], capture_output=True, text=True, check=False, env=environment()
    )
    assert done.returncode == 2
    assert "made with other settings" in done.stderr
    assert digests(whole) == before
