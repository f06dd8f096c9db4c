"""What importing costs: nothing heavy before it is used."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import jaxtyping
import pytest

import bathyscope
from bathyscope.config import canonical, from_json

PACKAGE = Path(bathyscope.__file__).parent
HEAVY = ("torch", "transformers", "numpy", "pyarrow", "duckdb", "numba", "tyro", "rich", "scipy", "sklearn", "datasets")
INSIDE_FUNCTIONS_ONLY = {"accelerate", "datasets", "fsspec", "gguf", "ray", "scipy", "sklearn", "transformers"}


def loaded_after(code: str) -> set[str]:
    """Top-level names of the modules that a fresh Python holds after running `code`."""
    script = f"import json, sys\n{code}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}


def test_import_bathyscope_loads_nothing_heavy() -> None:
    assert loaded_after("import bathyscope").isdisjoint(HEAVY)


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], []])
def test_the_overview_of_the_command_line_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import runpy
sys.argv = ["bathyscope", *{arguments!r}]
try:
    runpy.run_module("bathyscope", run_name="__main__")
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert loaded_after(code).isdisjoint(HEAVY)


def test_every_public_name_is_found_where_the_table_says() -> None:
    assert list(bathyscope.__all__) == sorted(bathyscope.__all__)
    assert set(bathyscope.__all__) == set(bathyscope._WHERE)
    for name in bathyscope.__all__:
        public = getattr(bathyscope, name)
        assert public.__name__ == name
        assert public.__doc__, f"{name} has no docstring"
    assert set(bathyscope.__all__) <= set(dir(bathyscope))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = bathyscope.trian


def test_type_checkers_see_every_public_name_where_it_is_found() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    block = next(node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    seen = {alias.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    assert seen == bathyscope._WHERE
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("file", sorted(PACKAGE.rglob("*.py")), ids=lambda file: file.relative_to(PACKAGE).as_posix())
def test_optional_and_slow_libraries_are_imported_inside_functions(file: Path) -> None:
    top_level = ast.parse(file.read_text()).body
    names = {alias.name for node in top_level if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in top_level if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in names}.isdisjoint(INSIDE_FUNCTIONS_ONLY)


def test_signatures_are_checked_while_tests_run() -> None:
    assert canonical(1) == b"1"
    with pytest.raises(jaxtyping.TypeCheckError):
        from_json("not a class", {})  # pyright: ignore[reportArgumentType]
