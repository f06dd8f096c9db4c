"""House rules over every tracked file: where things stand, what must not be in them, and that documents are true."""

import ast
import itertools
import os
import re
import tomllib
from importlib import resources
from pathlib import Path

import pytest

import bathyscope

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "bathyscope"
MODULES = sorted(PACKAGE.rglob("*.py"))
SKIPPED_FOLDERS = {".git", ".venv", ".interop", "node_modules", "runs", "dist", "__pycache__"}
TEXT = {".py", ".md", ".toml", ".txt", ".json", ".ts", ".js", ".css", ".html", ".svelte", ".yml", ".yaml", ".cfg", ""}

MACHINE_PATH = re.compile(r"""(?:^|[\s"'(=`])/(?:work|root|opt|farm|home|Users|mnt)/""")
REGISTRY_HOST = re.compile(r"://[a-z.]*(?:pypi|npmjs|debian|pythonhosted)")
LOCK_FILES = {"package-lock.json"}

LOOKED_TWICE: dict[str, str] = {
    "bathyscope/__init__.py": "the table of contents: each public name stands in three lists that a test compares",
}
"""Files over 400 lines that were looked at twice, and why they stay in one piece."""

named = pytest.mark.parametrize("file", MODULES, ids=lambda file: file.relative_to(ROOT).as_posix())


def text_files() -> list[Path]:
    """Every text file of the working tree, but not what the commands of the Makefile make."""
    found: list[Path] = []
    for folder, below, names in os.walk(ROOT):
        below[:] = sorted(n for n in below if n not in SKIPPED_FOLDERS and not n.endswith((".partial", "_cache")))
        found += [Path(folder, name) for name in sorted(names) if Path(name).suffix in TEXT]
    return found


def test_no_file_names_a_machine_or_a_registry() -> None:
    found: list[str] = []
    for path in text_files():
        if path.name in LOCK_FILES:
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), start=1):
            if MACHINE_PATH.search(line) or REGISTRY_HOST.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}")
    assert found == []


def test_the_search_for_machine_paths_finds_one() -> None:
    assert MACHINE_PATH.search('open("' + "/".join(["", "work", "main"]) + '")')
    assert REGISTRY_HOST.search("https:" + "//registry." + "npmjs.org/x")


@named
def test_no_module_can_load_a_pickle(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names = {alias.name for alias in node.names} if isinstance(node, ast.Import) else set()
        names |= {node.module or ""} if isinstance(node, ast.ImportFrom) else set()
        assert {name.partition(".")[0] for name in names}.isdisjoint(
            {"pickle", "dill", "cloudpickle", "shelve", "joblib"}
        )
        if isinstance(node, ast.Call):
            given = {word.arg: ast.unparse(word.value) for word in node.keywords}
            assert given.get("allow_pickle", "False") == "False", f"line {node.lineno}"
            if ast.unparse(node.func) == "torch.load":
                assert given.get("weights_only") == "True", f"line {node.lineno}"


@named
def test_only_the_command_line_prints(file: Path) -> None:
    if file.is_relative_to(PACKAGE / "cli"):
        return
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    assert [node.lineno for node in calls if ast.unparse(node.func) in ("print", "sys.stdout.write", "pprint")] == []


@named
def test_every_module_says_what_it_knows(file: Path) -> None:
    assert ast.get_docstring(ast.parse(file.read_text()))


@named
def test_no_module_has_a_name_that_means_nothing(file: Path) -> None:
    assert file.stem not in {"utils", "util", "helpers", "common", "misc", "base", "manager", "core", "tools"}


def test_long_files_were_looked_at_twice() -> None:
    sources = [path for path in text_files() if path.suffix in {".py", ".ts", ".svelte"} and "static" not in path.parts]
    long = {path.relative_to(ROOT).as_posix() for path in sources if len(path.read_text().splitlines()) > 400}
    assert long == set(LOOKED_TWICE)


def test_the_changelog_speaks_of_this_version() -> None:
    assert f"## {bathyscope.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_room_is_in_the_readme_and_every_room_in_the_readme_exists() -> None:
    tree = (ROOT / "README.md").read_text().split("<!-- rooms -->")[1]
    shown = re.findall(r"^    (\w[\w.]*/?)  ", tree, flags=re.MULTILINE)
    rooms = [f"{path.parent.name}/" for path in PACKAGE.glob("*/__init__.py")]
    files = [path.name for path in PACKAGE.glob("*.py") if not path.name.startswith("__")]
    assert sorted(shown) == sorted(rooms + files)


def test_every_layer_of_the_import_contract_exists() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    named = {name.strip() for line in layers for name in re.split(r"[|:]", line)}
    rooms = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    files = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    assert named == rooms | files


def test_every_material_has_a_licence_and_a_full_sum() -> None:
    table = tomllib.loads(resources.files("bathyscope").joinpath("materials.toml").read_text())
    assert "smollm2" in table
    for name, entry in table.items():
        assert entry["licence"].strip(), name
        assert entry["version"].strip(), name
        for pinned in (entry, *entry["files"]):
            assert re.fullmatch(r"[0-9a-f]{64}", pinned["sha256"]), name


def test_every_dependency_has_one_exact_tested_version() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][A-Za-z0-9.]*", line) for line in lines), (
        "no local builds, no paths"
    )
    pinned = {re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]
    named = {re.sub(r"[-_.]+", "-", re.split(r"[<>=!~ \[]", need)[0]).lower() for need in wanted}
    assert named - pinned == {"triton"}, "torch for CUDA asks for one version of Triton exactly: it is not ours to pin"
    assert not {name for name in pinned if name.startswith(("nvidia", "triton"))}
    assert "torch==2.13.0" in lines
