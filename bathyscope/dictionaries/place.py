"""Where a dictionary is: on this disk or on the Hub; what is not one is refused with what to do instead.

Knows names and endings of files; does not open weights.
"""

import re
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from bathyscope.artifacts import MANIFEST
from bathyscope.errors import ArtifactError

PICKLES = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt")
"""Endings of files that can run code when they are opened without care."""
CONVERT = (
    "convert its tensors to safetensors where it was made "
    "(`safetensors.torch.save_file(torch.load(FILE, weights_only=True), OUT)`)"
)
"""What to do with a pickle that is not opened."""

_HUB_ID = re.compile(r"(?P<repository>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+))?(/(?P<folder>[\w./-]+))?")
FILES = ("manifest.json", "config.json", "weights.safetensors", "metrics.jsonl")
"""Files of a dictionary folder of ours."""
MARKS = (
    "weights.safetensors",
    "sae_weights.safetensors",
    "sae.safetensors",
    "params.npz",
    "params.safetensors",
    "hyperparams.json",
    "ae.pt",
)
"""Files of which each stands in a folder that is one dictionary, ours or another tool's."""
PEERS = (
    *MARKS[1:],
    "cfg.json",
    "sparsity.safetensors",
    "activation_scaler.json",
    "checkpoints/final.safetensors",
    "sae_weights.pt",
)
"""Files of other tools that are fetched from the Hub too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A dictionary on this disk, and what its names say."""

    path: Path
    """Folder, or file where a format has one file a dictionary."""
    label: str
    """Names of repository, folders and file, in which some formats hide sizes and sites."""
    repository: str | None = None
    """Hub repository that it was fetched from."""
    revision: str | None = None
    """Commit of it."""


def find(place: str | Path) -> Place:
    """What `place` means: a folder or file here, or a Hub id `organisation/name[@revision][/folder or file]`.

    A text is taken for a Hub id only when its first part is no local file or folder. Raises ArtifactError for a Hub
    id that cannot be fetched.
    """
    path = Path(place)
    hub_id = _HUB_ID.fullmatch(place) if isinstance(place, str) else None
    if hub_id is not None and not path.exists() and not Path(path.parts[0]).exists():
        return _fetch(hub_id["repository"], hub_id["revision"], hub_id["folder"])
    return Place(path=path, label=path.absolute().as_posix())


def refuse(place: Place) -> None:
    """Raise ArtifactError when `place`, which no reader of another tool's format claims, is no folder of ours."""
    path = place.path
    _refuse_pickle(path)
    if path.is_file():
        raise ArtifactError(
            f"{path} is a file of no known format (docs/formats.md); of a dictionary of ours give the folder"
        )
    if path.is_dir() and not (path / MANIFEST).exists():
        _refuse_folder(path)
    if place.repository is not None and not (path / MANIFEST).exists():
        raise ArtifactError(
            f"{place.label} on the Hub holds no {MANIFEST}, and no file of a format that is known here; "
            "give the folder of one dictionary"
        )


def _refuse_pickle(path: Path) -> None:
    if path.suffix.lower() in PICKLES:
        raise ArtifactError(f"{path} is a pickle of no known format, which can run code when opened; {CONVERT}")


def _refuse_folder(path: Path) -> None:
    """Say what a folder without a manifest holds instead of a dictionary."""
    below = islice(path.glob("*/**/*"), 20_000)
    inside = sorted(file.parent for file in below if file.name in MARKS)
    if inside:
        raise ArtifactError(f"{path} is a run folder, not a dictionary; give {inside[0]}")
    for file in sorted(path.iterdir()):
        _refuse_pickle(file)


def _fetch(repository: str, revision: str | None, folder: str | None) -> Place:
    """A local copy of one folder or file of a Hub repository (cached by the Hub client)."""
    from huggingface_hub import snapshot_download

    prefix = f"{folder.rstrip('/')}/" if folder else ""
    wanted = [prefix + name for name in dict.fromkeys((*FILES, *PEERS))]
    wanted += [folder, str(Path(folder).parent / "config.json")] if folder else []  # a single file; a run's settings
    try:
        snapshot = Path(snapshot_download(repository, revision=revision, allow_patterns=wanted))
    except Exception as error:  # the Hub client passes on errors of several libraries
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ArtifactError(
            f"{repository} is no folder here and could not be fetched from the Hub ({reason}); "
            "check the name, the network, or download it and give the folder"
        ) from error
    commit = snapshot.name if re.fullmatch(r"[0-9a-f]{40}", snapshot.name) else revision
    label = f"{repository}/{folder}" if folder else repository
    return Place(path=snapshot / (folder or ""), label=label, repository=repository, revision=commit)
