"""A run as one HTML file: the built page, a small JSON head, and compressed blocks that are decoded when looked at.

Knows how data are put into a page so that no text can leave its block and nothing can be fetched.
"""

import base64
import gzip
import html
import json
import logging
from importlib import resources
from pathlib import Path
from typing import Any

from bathyscope import progress
from bathyscope.errors import ArtifactError
from bathyscope.files import write_atomic
from bathyscope.web.page_data import EARLY, PageData, gather

log = logging.getLogger(__name__)

PAGE = "page.html"
HEAD_MARK, BLOCKS_MARK, TITLE_MARK = "<!--bathyscope:head-->", "<!--bathyscope:blocks-->", "<!--bathyscope:title-->"
LARGE_PAGE_BYTES = 60_000_000


def export(run: Path, *, out: Path | None = None) -> Path:
    """The path of the page written for the run folder `run`: by default `page.html` inside it.

    Whatever is missing from the run is named on the page with the command that makes it. Same folder, same bytes.
    Raises ArtifactError when `run` holds no artifact, or one that is damaged; nothing is written then.
    """
    file = _target(Path(run), out)
    data = gather(Path(run))
    page = _fill(template(), data)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(file, page)
    if len(page) > LARGE_PAGE_BYTES:
        log.warning("%s has %.0f MB: small devices may refuse it; index fewer features", file, len(page) / 1e6)
    return file


def template() -> str:
    """The built page without data. Raises ArtifactError when the package was installed without it."""
    file = resources.files("bathyscope.web") / "static" / PAGE
    if not file.is_file():
        raise ArtifactError("the page's template is missing from this installation; install bathyscope again")
    return file.read_text(encoding="utf-8")


def _target(run: Path, out: Path | None) -> Path:
    if out is None:
        return run / PAGE
    return out / PAGE if out.is_dir() else out


def _fill(page: str, data: PageData) -> bytes:
    """The template with its title, head and blocks in place."""
    before, after_title = page.split(TITLE_MARK)
    middle, after_head = after_title.split(HEAD_MARK)
    rest, tail = after_head.split(BLOCKS_MARK)
    early, late = [], []
    for done, (name, payload) in enumerate(data.blocks(), start=1):
        (early if name in EARLY else late).append(_block(name, payload))
        progress.report("export", done, data.n_blocks, "blocks")
    parts = [before, html.escape(data.title), middle, _head(data.head), *early, rest, *late, tail]
    return "".join(parts).encode("utf-8", errors="replace")


def _head(head: dict[str, Any]) -> str:
    return f'<script type="application/json" id="head">{inert_json(head)}</script>\n'


def _block(name: str, payload: bytes) -> str:
    packed = base64.b64encode(gzip.compress(payload, 6, mtime=0)).decode()
    return f'<script type="application/octet-stream" id="{name}">{packed}</script>\n'


def inert_json(value: Any) -> str:
    """JSON that cannot end or open a tag: `<`, `>`, `&` and the line separators are written as escapes."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
