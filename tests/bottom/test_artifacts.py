"""Folders are whole, say how they were made, and refuse what does not belong."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bottom.folders import count_to, make, names, recipe

from bathyscope.artifacts import check_file, draft, is_finished, read_manifest, verify
from bathyscope.errors import ArtifactError, ConfigError

# --- finishing ---------------------------------------------------------------------------------------------------


def test_a_finished_folder_holds_its_files_its_manifest_and_nothing_of_the_making(tmp_path: Path) -> None:
    make(tmp_path / "out")
    assert names(tmp_path) == [
        "out",
        "out/deep",
        "out/deep/a.bin",
        "out/manifest.json",
        "out/rows.jsonl",
        "out/run.jsonl",
    ]


def test_the_manifest_says_what_was_made(tmp_path: Path) -> None:
    material = {"name": "smollm2", "sha256": "00"}
    make(tmp_path / "out", recipe(materials=(material,)))
    manifest = verify(tmp_path / "out")
    assert (manifest.kind, manifest.schema, manifest.seed) == ("scores", 1, 1)
    assert manifest.config == {"n": 3, "rate": 0.5}
    assert manifest.materials == (material,)
    assert set(manifest.files) == {"rows.jsonl", "deep/a.bin"}
    assert manifest.files["deep/a.bin"]["bytes"] == 2
    assert set(manifest.run) == {"environment", "seconds", "peak_memory_bytes"}


def test_equal_runs_have_equal_digests_whatever_the_clock_says(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a"), make(tmp_path / "b")
    assert (first / "run.jsonl").read_bytes() != (second / "run.jsonl").read_bytes()
    assert read_manifest(first).digest == read_manifest(second).digest


@pytest.mark.parametrize(
    "other",
    [
        {"kind": "features"},
        {"schema": 2},
        {"config": {"n": 4, "rate": 0.5}},
        {"seed": None},
        {"materials": ({"name": "x"},)},
    ],
)
def test_whatever_decides_the_bytes_changes_the_digest(other: dict[str, Any], tmp_path: Path) -> None:
    digests = {
        read_manifest(make(tmp_path / name, recipe(**given))).digest for name, given in [("a", {}), ("b", other)]
    }
    assert len(digests) == 2


def test_other_content_has_another_digest(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", content="x"), make(tmp_path / "b", content="y")
    assert read_manifest(first).digest != read_manifest(second).digest


def test_a_finished_folder_is_recognised_and_never_made_again(tmp_path: Path) -> None:
    assert not is_finished(tmp_path / "out", recipe())
    make(tmp_path / "out")
    assert is_finished(tmp_path / "out", recipe())
    with pytest.raises(ArtifactError, match="already finished"), draft(tmp_path / "out", recipe()):
        pass


def test_whole_numbers_given_as_float_are_the_same_settings(tmp_path: Path) -> None:
    make(tmp_path / "out", recipe(config={"l1": 5}))
    assert is_finished(tmp_path / "out", recipe(config={"l1": 5.0}))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (
            {"config": {"n": 3, "rate": 0.25}},
            r"settings \(rate: there 0.5, asked 0.25\); choose another --out or delete it$",
        ),
        ({"config": {"n": 3, "rate": 0.5, "new": [1]}}, r"new: there null, asked \[1\]"),
        ({"config": {"n": {"k": 4}, "rate": 0.5}}, r'n: there 3, asked {"k": 4}'),
        ({"seed": 2}, "seed: there 1, asked 2"),
        ({"kind": "features"}, 'kind: there "scores", asked "features"'),
    ],
)
def test_a_folder_of_other_settings_is_refused_with_the_difference(
    other: dict[str, Any], said: str, tmp_path: Path
) -> None:
    make(tmp_path / "out")
    with pytest.raises(ArtifactError, match=said):
        is_finished(tmp_path / "out", recipe(**other))
    assert verify(tmp_path / "out").seed == 1


def test_settings_that_cannot_be_hashed_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="finite"), draft(tmp_path / "out", recipe(config={"x": float("inf")})):
        pytest.fail("the work began")
    assert names(tmp_path) == []


# --- places ------------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_a_free_place(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    make(tmp_path / "out")
    verify(tmp_path / "out")


@pytest.mark.parametrize("spelling", ["out/", "./out", "deeper/../out", "link/out"])
def test_every_spelling_of_a_place_is_that_place(
    spelling: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "link").symlink_to(tmp_path)
    make(Path(spelling))
    assert is_finished(tmp_path / "out", recipe())
    assert not (tmp_path / "out.partial").exists()


def test_a_link_to_an_empty_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk")
    make(tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert verify(tmp_path / "disk").kind == "scores"


def test_a_dangling_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "later")
    make(tmp_path / "out")
    verify(tmp_path / "later")


def test_a_link_to_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(tmp_path / "out")
    with pytest.raises(ArtifactError, match="link to itself"):
        is_finished(tmp_path / "out", recipe())


def test_the_root_of_a_disk_is_refused() -> None:
    with pytest.raises(ArtifactError, match="root of a disk"):
        is_finished(Path("/"), recipe())


def test_a_file_in_the_place_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(ArtifactError, match="is not a bathyscope artifact"), draft(tmp_path / "out", recipe()):
        pytest.fail("the work began")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_folder_of_other_things_is_refused_and_kept(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("mine")
    with pytest.raises(ArtifactError, match="is not a bathyscope artifact"):
        is_finished(tmp_path / "out", recipe())
    assert names(tmp_path) == ["out", "out/thesis.tex"]


@pytest.mark.parametrize("blocked", ["file/out", "out"])
def test_a_place_that_cannot_be_made_is_one_clear_line(blocked: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "out.partial").write_text("")
    with pytest.raises(ArtifactError, match=r"cannot write .*check the path and its permissions"):
        make(tmp_path / blocked)


def test_a_place_without_permission_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(self: Path, *_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(self))

    monkeypatch.setattr(Path, "mkdir", closed)  # a real closed folder would stop everybody but root
    with pytest.raises(
        ArtifactError, match=r"cannot write .*out: Permission denied \(.*out\.partial\); check the path"
    ):
        make(tmp_path / "out")


# --- reading -----------------------------------------------------------------------------------------------------


def alter(folder: Path) -> None:
    (folder / "rows.jsonl").write_text("jello")


def truncate(folder: Path) -> None:
    os.truncate(folder / "rows.jsonl", 2)


def lose(folder: Path) -> None:
    (folder / "deep" / "a.bin").unlink()


def add(folder: Path) -> None:
    (folder / "deep" / "extra.bin").write_text("?")


def edit_settings(folder: Path) -> None:
    edit(folder, config={"n": 300})


def edit_sum(folder: Path) -> None:
    entry = {"sha256": "0" * 64, "bytes": 5}
    edit(folder, files={"rows.jsonl": entry})


def edit(folder: Path, **changes: Any) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (alter, r"rows.jsonl was altered: its sha256 is not the one in the manifest; delete .* and make it again"),
        (truncate, r"rows.jsonl is truncated or altered: 2 bytes, expected 5; delete"),
        (lose, r"deep/a.bin is missing; delete"),
        (add, r"holds files that its manifest does not list: deep/extra.bin"),
        (edit_settings, r"manifest.json was altered: its digest does not match its content"),
        (edit_sum, r"manifest.json was altered: its digest does not match its content"),
    ],
)
def test_every_damage_is_found_and_named(damage: Callable[[Path], None], said: str, tmp_path: Path) -> None:
    make(tmp_path / "out")
    damage(tmp_path / "out")
    with pytest.raises(ArtifactError, match=said):
        verify(tmp_path / "out")


def test_wall_clock_figures_may_change_without_harm(tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out" / "run.jsonl").write_text("{}\n")
    edit(tmp_path / "out", run={})
    verify(tmp_path / "out")


@pytest.mark.parametrize("content", ["", "[]", '{"kind": "scores"}', '{"files": null, "materials": []}', "\0"])
def test_a_manifest_that_is_none_is_an_artifact_error(content: str, tmp_path: Path) -> None:
    make(tmp_path / "out")
    (tmp_path / "out" / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError, match=r"manifest\.json"):
        read_manifest(tmp_path / "out")
    with pytest.raises(ArtifactError):
        is_finished(tmp_path / "out", recipe())


def test_the_wrong_kind_and_schema_are_refused(tmp_path: Path) -> None:
    make(tmp_path / "out", recipe(schema=2))
    assert read_manifest(tmp_path / "out", kind="scores", schema=2).schema == 2
    with pytest.raises(ArtifactError, match="is a folder of kind 'scores', expected 'features'"):
        read_manifest(tmp_path / "out", kind="features")
    with pytest.raises(ArtifactError, match="has schema 2, this version reads 1; make it again"):
        read_manifest(tmp_path / "out", kind="scores", schema=1)


def test_a_missing_folder_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere does not exist: expected a bathyscope features folder$"):
        read_manifest(tmp_path / "nowhere", kind="features")
    with pytest.raises(ArtifactError, match=r"has no manifest\.json: expected a bathyscope artifact folder$"):
        read_manifest(tmp_path)


def test_an_unfinished_folder_says_how_to_resume(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        count_to(tmp_path / "a", 4, stop_at=3)
    with pytest.raises(ArtifactError, match=r"a\.partial is unfinished, run the same command again to resume"):
        read_manifest(tmp_path / "a", kind="scores")


def test_a_file_that_the_manifest_does_not_list_is_not_read(tmp_path: Path) -> None:
    manifest = read_manifest(make(tmp_path / "out"))
    assert check_file(tmp_path / "out", manifest, "rows.jsonl") == tmp_path / "out" / "rows.jsonl"
    with pytest.raises(ArtifactError, match="shard-9 is not listed"):
        check_file(tmp_path / "out", manifest, "shard-9")


# --- parents -----------------------------------------------------------------------------------------------------


def test_parents_are_recorded_by_digest_and_by_the_way_to_them(tmp_path: Path) -> None:
    parent = make(tmp_path / "run" / "store", recipe(kind="activations"))
    child = make(tmp_path / "run" / "scores", recipe(parents={"store": parent}))
    manifest = read_manifest(child)
    assert manifest.parents == {
        "store": {"kind": "activations", "digest": read_manifest(parent).digest, "path": "store"}
    }


def test_moving_a_run_changes_no_digest(tmp_path: Path) -> None:
    parent = make(tmp_path / "store")
    child = make(tmp_path / "scores", recipe(parents={"store": parent}))
    shutil.copytree(parent, tmp_path / "elsewhere" / "copy")
    moved = make(tmp_path / "elsewhere" / "scores", recipe(parents={"store": tmp_path / "elsewhere" / "copy"}))
    assert read_manifest(child).digest == read_manifest(moved).digest


def test_another_parent_is_another_artifact(tmp_path: Path) -> None:
    first, second = make(tmp_path / "a", content="x"), make(tmp_path / "b", content="y")
    make(tmp_path / "out", recipe(parents={"store": first}))
    for others in ({"store": second}, {}, {"store": first, "more": second}):
        with pytest.raises(ArtifactError, match=r"other settings \(another (store|more)\)"):
            is_finished(tmp_path / "out", recipe(parents=others))


def test_a_parent_that_is_no_artifact_is_refused_before_any_work(tmp_path: Path) -> None:
    with (
        pytest.raises(ArtifactError, match="does not exist"),
        draft(tmp_path / "out", recipe(parents={"store": tmp_path / "gone"})),
    ):
        pytest.fail("the work began")
    assert names(tmp_path) == []
