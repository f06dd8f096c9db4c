"""Where a dictionary's folder is: on this disk or on the Hub; what is not one is refused with what to do instead.

Knows names and endings of files; does not open weights.
"""

import re
from pathlib import Path

from bathyscope.artifacts import MANIFEST
from bathyscope.errors import ArtifactError

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
"""Endings of files that run code when they are opened."""

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<folder>[\w./-]+))?")
FILES = ("manifest.json", "config.json", "weights.safetensors", "metrics.jsonl")
"""Files of a dictionary folder that are fetched from the Hub."""


def dictionary_folder(place: str | Path) -> Path:
    """The local folder that `place` means: a folder, or a Hub id `organisation/name[@revision][/folder]`.

    A text is taken for a Hub id only when its first part is no local file or folder. Raises ArtifactError for a
    pickle, a single file, a run folder, or a Hub id that cannot be fetched.
    """
    path = Path(place)
    hub_id = _HUB_ID.fullmatch(place) if isinstance(place, str) else None
    if hub_id is not None and not path.exists() and not Path(path.parts[0]).exists():
        path = _fetch(hub_id["repository"], hub_id["revision"], hub_id["folder"])
    _refuse_pickle(path)
    if path.is_file():
        raise ArtifactError(f"{path} is a file; give the folder that holds it")
    if path.is_dir() and not (path / MANIFEST).exists():
        _refuse_folder(path)
    return path


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise ArtifactError(
            f"{path} is a pickle, which can run code when opened; convert its tensors to safetensors "
            "(`safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT)`) and load those"
        )


def _refuse_folder(path: Path) -> None:
    """Say what a folder without a manifest holds instead of a dictionary."""
    inside = sorted(file.parent for file in path.glob("*/weights.safetensors"))
    if inside:
        raise ArtifactError(f"{path} is a run folder, not a dictionary; give {inside[0]}")
    for file in sorted(path.iterdir()):
        _refuse_pickle(file)


def _fetch(repository: str, revision: str | None, folder: str | None) -> Path:
    """A local copy of one folder of a Hub repository (cached by the Hub client)."""
    from huggingface_hub import snapshot_download

    prefix = f"{folder.rstrip('/')}/" if folder else ""
    try:
        snapshot = snapshot_download(repository, revision=revision, allow_patterns=[prefix + name for name in FILES])
    except Exception as error:  # the Hub client passes on errors of several libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArtifactError(
            f"{repository} is no folder here and could not be fetched from the Hub ({reason}); "
            "check the name, the network, or download it and give the folder"
        ) from error
    found = Path(snapshot) / prefix
    if not (found / MANIFEST).exists():
        raise ArtifactError(f"{repository} on the Hub holds no {prefix}{MANIFEST}: it is not a bathyscope dictionary")
    return found
