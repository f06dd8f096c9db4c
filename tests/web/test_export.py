"""The exported file: complete, inert, small, the same bytes each time; refusals that name the reason."""

import base64
import gzip
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from web.synthetic_run import make_run
from web.synthetic_text import HOSTILE

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.errors import ArtifactError
from bathyscope.progress import Step, listening
from bathyscope.web.export import export, inert_json, template

N_FEATURES = 60


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"), n_features=N_FEATURES, n_documents=24)


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return export(run).read_text(encoding="utf-8")


def blocks(page: str) -> dict[str, bytes]:
    found = re.findall(r'<script type="application/octet-stream" id="([\w-]+)">([\w+/=]*)</script>', page)
    return {name: gzip.decompress(base64.b64decode(packed)) for name, packed in found}


def head(page: str) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="head">(.*?)</script>', page, flags=re.DOTALL)
    return json.loads(text)


def test_every_block_that_the_page_asks_for_is_there(page: str) -> None:
    layout, found = head(page)["features"], blocks(page)
    n_chunks = -(-N_FEATURES // layout["per_chunk"])
    n_token_blocks = -(-layout["n_stream_tokens"] // layout["per_token_block"])
    wanted = {"answers", "list", "strings", "documents"}
    wanted |= {f"chunk-{i}" for i in range(n_chunks)} | {f"tokens-{i}" for i in range(n_token_blocks)}
    assert set(found) == wanted
    assert len(found["tokens-0"]) == layout["n_stream_tokens"] * layout["token_bytes"]


def test_the_same_folder_gives_the_same_bytes(run: Path, page: str, tmp_path: Path) -> None:
    assert export(run, out=tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_no_text_of_the_run_stands_in_the_file_as_markup(page: str) -> None:
    assert all(text not in page for text in HOSTILE)
    assert HOSTILE[1].encode() in b"".join(blocks(page).values()).replace(b'\\"', b'"')


def test_a_hostile_name_cannot_leave_the_head_or_the_title(run: Path, tmp_path: Path) -> None:
    hostile = "</title></script><img src=x onerror=alert(1)>\u2028"
    copy = tmp_path / "run"
    shutil.copytree(run / "scores", copy / "scores")
    with artifacts.draft(copy / "dictionary", Recipe(kind="dictionary", config={"note": hostile})) as work:
        (work.path / "config.json").write_text(json.dumps({"hookpoint": hostile, "model": {"name": hostile}}))
    page = export(copy).read_text(encoding="utf-8")
    assert "<img src=x" not in page
    assert head(page)["model"]["name"] == hostile


def test_inert_json_reads_back_and_holds_no_tag() -> None:
    value = {"<!--": ["</script>", "a&b", "\u2028"]}
    assert json.loads(inert_json(value)) == value
    assert not set("<>&\u2028") & set(inert_json(value))


def test_the_page_may_fetch_nothing_and_run_only_its_own_script(page: str) -> None:
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)
    assert "default-src 'none'" in policy
    assert re.search(r"script-src 'sha256-[\w+/=]{44}';", policy)
    assert not re.search(r"connect-src|unsafe-eval|https?:", policy)
    outside = re.sub(r"<script>.*?</script>", "", template(), flags=re.DOTALL)
    assert not re.findall(r"""(?:src|href|url\()\s*=?\s*["']?(?:https?:)?//""", outside)


def test_windows_read_back_as_the_tokens_of_the_index(run: Path, page: str) -> None:
    found = blocks(page)
    ids = np.array(json.loads(found["strings"])["ids"])
    stream = ids[np.frombuffer(found["tokens-0"], "<u2")]
    tokens = np.load(run / "features" / "tokens.npy")
    import pyarrow.parquet as pq

    rows = pq.read_table(run / "features" / "examples.parquet").to_pylist()
    packed = [(p, e) for i in range(2) for p in json.loads(found[f"chunk-{i}"]) for e in p["examples"]]
    assert len(packed) == len(rows)
    for (feature, (_, document, place, length, peak, value, steps)), row in zip(packed, rows, strict=True):
        assert stream[place : place + length].tolist() == tokens[row["start"] : row["stop"]].tolist()
        assert (feature["f"], document, row["start"] + peak) == (row["feature"], row["document"], row["token"])
        values = np.zeros(length)
        values[steps[::2]] = np.array(steps[1::2]) * feature["scale"] / 10_000
        np.testing.assert_allclose(values, row["values"], atol=6e-4 * max(feature["scale"], 1e-9))
        assert value == pytest.approx(row["value"], rel=1e-3)


def test_text_is_stored_once_however_many_windows_show_it(run: Path, page: str) -> None:
    assert head(page)["features"]["n_stream_tokens"] <= len(np.load(run / "features" / "tokens.npy"))


def test_pieces_that_are_no_whole_character_keep_their_bytes(page: str) -> None:
    strings = json.loads(blocks(page)["strings"])["strings"]
    assert any(isinstance(piece, list) for piece in strings)
    assert "\ufffd" not in "".join(piece for piece in strings if isinstance(piece, str))


def test_list_columns_have_one_entry_per_feature(page: str) -> None:
    columns = json.loads(blocks(page)["list"])
    assert {len(column) for column in columns.values()} == {N_FEATURES}
    assert columns["words"][3][:3] == list(HOSTILE)
    assert set(columns["beats"]) <= {0, 1, None}
    assert columns["n_fires"][12] == 0


def test_the_head_names_texts_licences_stages_and_scores(page: str) -> None:
    content = head(page)
    assert content["model"]["description"] == "Q4_1, dequantised"
    assert {stage["folder"] for stage in content["stages"]} >= {"activations", "features", "scores", "steering-scores"}
    assert sum(text["tokens"] for text in content["texts"]) == content["features"]["summary"]["n_tokens"]
    assert {material["name"]: material["open"] for material in content["materials"]}["python:stdlib"] is True
    assert {row["subject"] for row in content["scores"]} >= {"dictionary", "random dictionary", "steered feature"}
    assert content["missing"] == []


@pytest.mark.parametrize("kind", ["activations", "dictionary", "features", "explanations", "scores", "generations"])
def test_a_run_with_a_single_artifact_says_what_makes_the_others(kind: str, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", n_features=5, n_documents=4, only=(kind,))
    missing = {entry["kind"]: entry["command"] for entry in head(export(run).read_text(encoding="utf-8"))["missing"]}
    assert kind not in missing
    assert len(missing) == 5
    assert all(command.startswith("bathyscope ") for command in missing.values())


def test_a_folder_without_artifacts_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="holds no artifact to show: expected a subfolder of kind activations"):
        export(tmp_path)
    with pytest.raises(ArtifactError, match="is not a folder"):
        export(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_an_artifact_given_in_place_of_its_run_is_named(run: Path) -> None:
    with pytest.raises(ArtifactError, match="is itself an artifact; give the run folder"):
        export(run / "features")


def test_an_altered_file_is_refused_and_the_old_page_stays(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    old = (copy / "page.html").read_bytes()
    scores = copy / "scores" / "scores.jsonl"
    scores.write_bytes(scores.read_bytes().replace(b"0.783", b"0.999"))
    with pytest.raises(ArtifactError, match=r"scores\.jsonl was altered"):
        export(copy)
    assert (copy / "page.html").read_bytes() == old
    assert not list(copy.glob("*.tmp"))


def test_numbers_that_json_cannot_hold_are_missing_values(tmp_path: Path) -> None:
    row = {"subject": "dictionary", "metric": "KL", "value": float("nan"), "low": float("-inf"), "high": 1.0}
    with artifacts.draft(tmp_path / "scores", Recipe(kind="scores", config={})) as work:
        (work.path / "scores.jsonl").write_text(json.dumps(row) + "\n")
    (found,) = head(export(tmp_path).read_text(encoding="utf-8"))["scores"]
    assert (found["value"], found["low"], found["high"]) == (None, None, 1.0)


def test_a_folder_given_as_out_receives_the_page(run: Path, tmp_path: Path) -> None:
    assert export(run, out=tmp_path) == tmp_path / "page.html"
    assert export(run, out=tmp_path / "new" / "my.html").exists()


def test_export_reports_every_block(run: Path, tmp_path: Path) -> None:
    steps: list[Step] = []
    with listening(steps.append):
        export(run, out=tmp_path / "page.html")
    assert [step.done for step in steps] == list(range(1, steps[-1].total + 1))
