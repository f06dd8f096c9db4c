"""The page in a real browser, where one is installed: features are drawn, hostile tokens stay text."""

import html
import shutil
import subprocess
from pathlib import Path

import pytest
from web.synthetic_run import make_run
from web.synthetic_text import HOSTILE

from bathyscope.web.export import export

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=8000",
)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(make_run(tmp_path_factory.mktemp("run"), n_features=12, n_documents=24))


def drawn(page: Path, place: str, profile: Path) -> str:
    """The document as the browser has built it."""
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={profile}", "--dump-dom", f"{page.as_uri()}{place}"]
    text = subprocess.run(command, capture_output=True, check=True, timeout=120, text=True).stdout
    return text.partition('<div id="app">')[2].partition('<script type="application/json"')[0]


def test_a_feature_with_hostile_tokens_is_drawn_as_text(page: Path, tmp_path: Path) -> None:
    text = drawn(page, "#feature/3", tmp_path)
    assert html.escape(HOSTILE[0], quote=False) in text
    assert "<img" not in text
    assert "Where it fires" in text
    assert "Near misses" in text
    assert text.count("data-line=") > 10
