"""Settings: frozen dataclasses whose every field says, in the line under it, what it means."""

import ast
import typing
from pathlib import Path

import pytest

import bathyscope
from bathyscope.dictionaries.kinds import Kind

PACKAGE = Path(bathyscope.__file__).parent


def settings_classes() -> list[tuple[str, ast.ClassDef]]:
    """Every dataclass that a person fills in: `…Settings`, subcommands, kinds and methods."""
    return [
        (f"{file.relative_to(PACKAGE).as_posix()}:{node.name}", node)
        for file in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ClassDef) and _is_settings(node)
    ]


def _is_settings(node: ast.ClassDef) -> bool:
    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
    is_dataclass = any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)
    takes_settings = node.name.endswith("Settings") or "Command" in bases or node.name in PUBLIC_SETTINGS
    return is_dataclass and takes_settings


PUBLIC_SETTINGS = {cls.__name__ for cls in typing.get_args(Kind)} | {
    "Command",
    "Fista",
    "MutualInformation",
    "OrthogonalPursuit",
    "Packing",
}
"""Settings classes whose name is the method's own."""

CLASSES = settings_classes()
each_class = pytest.mark.parametrize("node", [node for _, node in CLASSES], ids=[name for name, _ in CLASSES])


def test_the_named_settings_are_found() -> None:
    assert {node.name for _, node in CLASSES} >= PUBLIC_SETTINGS | {"CollectSettings", "TrainSettings", "Demo"}


@each_class
def test_settings_are_frozen_slotted_and_keyword_only(node: ast.ClassDef) -> None:
    decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
    assert decorators == ["dataclass(frozen=True, slots=True, kw_only=True)"]


@each_class
def test_every_field_is_explained_in_the_line_under_it(node: ast.ClassDef) -> None:
    following = zip(node.body, [*node.body[1:], None], strict=True)
    for statement, after in following:
        if isinstance(statement, ast.AnnAssign):
            text = _docstring(after)
            assert text, f"{node.name}.{ast.unparse(statement.target)} has no line under it"
            assert text.endswith((".", ")", "`")), (
                f"{node.name}.{ast.unparse(statement.target)}: {text!r} has no full stop"
            )


def _docstring(statement: ast.stmt | None) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return str(statement.value.value).strip()
    return ""
