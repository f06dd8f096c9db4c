"""`Prompt`: what is said to a language model, as a file to edit: `{places}` are filled, all else is sent as it is."""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from bathyscope.errors import ConfigError
from bathyscope.runtime import disk_errors


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text with places."""

    name: str
    """Name of its file, without `.txt`."""
    text: str
    """What is sent, places included."""
    places: tuple[str, ...]
    """Names of the places."""

    @property
    def digest(self) -> str:
        """sha256 of the text, for manifests."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def fill(self, **given: str) -> str:
        """The text with every place filled; what is filled in is never searched for places."""
        pattern = "|".join(re.escape(f"{{{name}}}") for name in self.places)
        return re.sub(pattern, lambda found: given[found[0][1:-1]], self.text).strip()


def read_prompt(name: str, places: tuple[str, ...], *, package: str, folder: Path | None = None) -> Prompt:
    """The prompt `name`: `folder`/`name`.txt where there is such a file, else that of the package.

    Raises ConfigError when the file is empty or lacks a place.
    """
    own = None if folder is None else folder / f"{name}.txt"
    if folder is not None and not folder.is_dir():
        raise ConfigError(f"{folder} is no folder; put edited prompts, such as {name}.txt, into one")
    if own is None or not own.exists():
        return Prompt(name, resources.files(package).joinpath(f"{name}.txt").read_text("utf-8"), places)
    with disk_errors(own, doing="read"):
        text = own.read_text("utf-8")
    missing = [place for place in places if f"{{{place}}}" not in text]
    if not text.strip() or missing:
        what = f"has no place {{{missing[0]}}}" if text.strip() else "is empty"
        needs = " and ".join(f"{{{place}}}" for place in places)
        raise ConfigError(f"{own} {what}; a prompt for {name} needs {needs}")
    return Prompt(name, text, places)
