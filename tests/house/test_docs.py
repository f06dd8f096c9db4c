"""Documents are true: help texts are the real ones, commands and options exist, links lead somewhere, code parses."""

import ast
import re
import runpy
import typing
from pathlib import Path

import pytest

import bathyscope
from bathyscope.cli import train
from bathyscope.cli.command import COMMANDS
from bathyscope.dictionaries.end_to_end import EndToEnd
from bathyscope.dictionaries.frozen import Frozen
from bathyscope.dictionaries.kinds import Kind

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
WRITTEN_BY_HAND = [file for file in DOCUMENTS if file.name != "commands.md"]
each_document = pytest.mark.parametrize("file", WRITTEN_BY_HAND, ids=lambda file: file.name)


@pytest.fixture(scope="module")
def help_texts() -> str:
    """What `docs/generate.py` would write now."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("COLUMNS", "NO_COLOR", "TERM"):
            patch.setenv(name, "")  # so that what the script sets is undone
        return runpy.run_path(str(ROOT / "docs" / "generate.py"))["commands"]()


def test_the_help_texts_in_the_documents_are_the_real_ones(help_texts: str) -> None:
    written = (ROOT / "docs" / "commands.md").read_text()
    assert written == help_texts, "run: .venv/bin/python docs/generate.py"


@each_document
def test_every_link_leads_to_a_file_of_the_repository(file: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)", file.read_text())
    assert [link for link in links if "://" not in link and not (file.parent / link).exists()] == []


def test_every_page_can_be_reached_from_the_index() -> None:
    links = set(re.findall(r"\]\(([\w-]+\.md)", (ROOT / "docs" / "index.md").read_text()))
    assert links == {file.name for file in (ROOT / "docs").glob("*.md")} - {"index.md"}


@each_document
def test_every_command_and_option_shown_exists(file: Path, help_texts: str) -> None:
    text = file.read_text().replace("\\\n", " ")
    for line in re.findall(r"^\s+(?:\.venv/bin/)?bathyscope (.+)$", text, flags=re.MULTILINE):
        name, *words = line.split("#")[0].split()
        assert name in COMMANDS or name.startswith("--"), line
        for stage, own in _stages(name, words):
            of_stage = help_texts.partition(f"\n## {stage}\n")[2].partition("\n## ")[0]
            for option in (word for word in own if word.startswith("--")):
                assert re.search(rf"{re.escape(option)}\b", of_stage), f"{stage} has no option {option}"


def _stages(name: str, words: list[str]) -> list[tuple[str, list[str]]]:
    """A command with its options; of `launch`, the stage that it starts as well."""
    at = next((n for n, word in enumerate(words) if word in COMMANDS), len(words)) if name == "launch" else len(words)
    return [(name, words[:at]), *([(words[at], words[at + 1 :])] if at < len(words) else [])]


@each_document
def test_python_blocks_parse_and_use_public_names_only(file: Path) -> None:
    for block in re.findall(r"```python\n(.*?)```", file.read_text(), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "bs":
                assert node.attr in bathyscope.__all__, f"bs.{node.attr}"


def test_every_kind_is_a_subcommand_and_has_its_row_in_the_table_of_kinds() -> None:
    of_commands = {typing.get_args(kind)[0]: typing.get_args(kind)[1].name for kind in typing.get_args(train.Kind)}
    assert set(of_commands) == set(typing.get_args(Kind)) - {Frozen, EndToEnd}, "`--frozen`, and Python"
    assert [*of_commands.values()] == [cls.__name__.lower() for cls in of_commands], "as `sweep --kinds` calls them"
    table = (ROOT / "docs" / "train.md").read_text().partition("| kind |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| (.+?) \|", table, flags=re.MULTILINE)
    assert [row for row in rows if row.startswith("`") and " " not in row] == [
        f"`{name}`" for name in of_commands.values()
    ]


def test_every_word_of_the_glossary_stands_once() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text().split("## Letters")[0]
    words = re.findall(r"^\| ([\w -]+?) \|", text, flags=re.MULTILINE)
    words = [word for word in words if word != "word"]
    assert len(words) == len(set(words)) > 25
