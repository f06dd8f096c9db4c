"""The finished dictionary that a training run goes on from.

Knows where it lies and what it was made for; what a kind takes from it is the kind's own `adopt`.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bathyscope.artifacts import MANIFEST
from bathyscope.dictionaries.dictionary import Dictionary, load_dictionary
from bathyscope.dictionaries.place import find
from bathyscope.dictionaries.source import Hookpoint

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parent:
    """A dictionary, and the artifact folder that holds it, if one does."""

    dictionary: Dictionary
    """What is gone on from."""
    path: Path | None
    """Its folder of kind `dictionary` on this disk."""

    def note_difference(self, hookpoint: Hookpoint, model_identity: Mapping[str, str] | None) -> None:
        """Say in the log when the activations come from another place than those the dictionary was made for."""
        hookpoint = hookpoint if isinstance(hookpoint, str) else None
        made_for = (self.dictionary.hookpoint, self.dictionary.model_identity)
        for what, was, now in zip(("hookpoint", "model"), made_for, (hookpoint, model_identity), strict=True):
            if was is not None and now is not None and was != now:
                log.warning("the dictionary to start from is of the %s %s, the activations of %s", what, was, now)


def open_parent(start_from: Dictionary | str | Path | None) -> Parent | None:
    """What `start_from` means: a dictionary, a folder, or a Hub id; None for a fresh start."""
    if start_from is None:
        return None
    if isinstance(start_from, Dictionary):
        return Parent(dictionary=start_from, path=None)
    place = find(start_from)
    is_artifact = place.repository is None and (place.path / MANIFEST).exists()
    return Parent(dictionary=load_dictionary(start_from), path=place.path if is_artifact else None)
