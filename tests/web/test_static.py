"""The committed build belongs to the present sources; told without Node."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from bathyscope.web.export import template

FRONTEND = Path(__file__).parents[2] / "frontend"
FILES = ("index.html", "package-lock.json", "package.json", "svelte.config.js", "tsconfig.json", "vite.config.ts")
FOLDERS = ("build", "src")

pytestmark = pytest.mark.skipif(not FRONTEND.exists(), reason="installed without the page's sources")


def sources_digest() -> str:
    """The sum that `frontend/build/sources.ts` computes."""
    inside = [p.relative_to(FRONTEND).as_posix() for folder in FOLDERS for p in (FRONTEND / folder).rglob("*")]
    names = sorted([*FILES, *(n for n in inside if (FRONTEND / n).is_file() and not n.endswith(".test.ts"))])
    total = hashlib.sha256()
    for name in names:
        total.update(name.encode() + b"\0" + (FRONTEND / name).read_bytes() + b"\0")
    return total.hexdigest()


def test_the_built_page_belongs_to_the_present_sources() -> None:
    (recorded,) = re.findall(r'name="bathyscope-sources" content="([0-9a-f]{64})"', template())
    assert recorded == sources_digest(), "run: npm --prefix frontend ci && npm --prefix frontend run build"


def test_the_page_inserts_text_as_text_only() -> None:
    for file in (FRONTEND / "src").rglob("*"):
        if file.suffix in (".svelte", ".ts"):
            assert not re.search(r"\{@html|innerHTML|insertAdjacentHTML|document\.write|\beval\(", file.read_text()), (
                file
            )


def test_the_lock_file_names_no_registry_and_every_package_is_pinned() -> None:
    lock = json.loads((FRONTEND / "package-lock.json").read_text())
    packages = {name: entry for name, entry in lock["packages"].items() if name}
    assert all("resolved" not in entry for entry in packages.values())
    assert all(entry["integrity"].startswith("sha512-") for entry in packages.values())
    wanted = json.loads((FRONTEND / "package.json").read_text())["devDependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", version) for version in wanted.values())


def test_the_lock_file_holds_the_packages_of_every_platform() -> None:
    packages = json.loads((FRONTEND / "package-lock.json").read_text())["packages"]
    held = {name.rpartition("node_modules/")[2] for name in packages}
    for name, entry in packages.items():
        named = {*entry.get("dependencies", {}), *entry.get("optionalDependencies", {})}
        assert named <= held, f"{name} names packages that the lock file lacks: {sorted(named - held)}"


def test_the_page_carries_the_notices_of_the_code_inside_it() -> None:
    assert "Svelte" in template()
    assert "Permission is hereby granted" in template()


def test_the_template_is_small_and_has_each_mark_once() -> None:
    page = template()
    assert len(page) < 400_000
    for mark in ("head", "blocks", "title"):
        assert page.count(f"<!--bathyscope:{mark}-->") == 1
