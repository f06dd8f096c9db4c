"""The real demo at reduced size: SmolLM2-135M from its pinned wheel, real text, every stage (minutes; needs pip)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bathyscope import artifacts
from bathyscope.explanations.methods import METHODS, OF_DIRECTION

pytestmark = pytest.mark.real

SIZES = {
    "--n-tokens": 8_000,
    "--n-features": 1152,
    "--k": 16,
    "--epochs": 8,
    "--evaluate-tokens": 600,
    "--n-candidates": 2,
    "--n-steered": 1,
    "--max-new-tokens": 8,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """The run folder of one reduced demo."""
    out = tmp_path_factory.mktemp("runs") / "real"
    sizes = [word for name, value in SIZES.items() for word in (name, str(value))]
    arguments = [sys.executable, "-m", "bathyscope", "demo", "--json", "--out", str(out), *sizes]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env={**os.environ, "HF_HUB_OFFLINE": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return out


def scores(run: Path) -> dict[tuple[str, str], float]:
    rows = [json.loads(line) for line in (run / "scores" / "scores.jsonl").read_text().splitlines()]
    return {(row["subject"], row["metric"]): row["value"] for row in rows}


def test_every_artifact_is_whole_and_says_which_model_and_texts_it_is_made_of(run):
    for folder in ("activations", "dictionary", "features", "explanations", "scores", "generations"):
        manifest = artifacts.verify(run / folder)
        assert manifest.kind == folder
    names = {material["name"] for material in artifacts.read_manifest(run / "activations").materials}
    assert "smollm2" in names and len(names) >= 4
    assert all(material["licence"] for material in artifacts.read_manifest(run / "activations").materials)


def test_the_dictionary_beats_random_directions_on_held_out_documents(run):
    found = scores(run)
    for metric in ("variance explained", "CE loss recovered"):
        assert found["dictionary", metric] > found["random dictionary", metric] + 0.1
    assert found["dictionary", "KL"] < found["zeroed layer", "KL"]
    assert found["dictionary", "L0"] <= 16


def test_a_plain_answer_is_language_and_steering_changes_it(run):
    rows = [json.loads(line) for line in (run / "generations" / "generations.jsonl").read_text().splitlines()]
    plain = {row["prompt"]: row["text"] for row in rows if row["arm"] == "plain"}
    assert len(plain) == 6
    assert all(len(text.split()) >= 4 for text in plain.values())
    assert any(row["text"] != plain[row["prompt"]] for row in rows if row["arm"] == "feature")


def test_words_are_found_for_features_that_fire(run):
    words = pq.read_table(run / "explanations" / "words.parquet")
    assert set(words["method"].to_pylist()) == set(METHODS)
    assert len(set(words["feature"].to_pylist())) > 500
    rows = list(zip(words["method"].to_pylist(), words["word"].to_pylist(), strict=True))
    of_direction = [word for method, word in rows if method in OF_DIRECTION]
    assert sum(word.isalpha() for word in of_direction) > 0.95 * len(of_direction), "directions are named by words"
    assert sum(word.isalpha() for _, word in rows) > 0.8 * len(rows), "text may be named by marks, and mostly is not"


def test_the_page_is_one_file_that_names_the_model_and_the_licence(run):
    page = (run / "page.html").read_text()
    assert "SmolLM2" in page and "Apache-2.0" in page
    assert "default-src 'none'" in page
