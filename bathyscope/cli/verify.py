"""`bathyscope verify`: check every file of an artifact, or of each artifact of a run, against its manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from bathyscope import artifacts
from bathyscope.cli.command import Command
from bathyscope.cli.terminal import result
from bathyscope.errors import ArtifactError


@dataclass(frozen=True, slots=True, kw_only=True)
class Verify(Command):
    """Which folder to check."""

    folder: Annotated[Path, tyro.conf.Positional]
    """An artifact folder, or a run folder that holds several."""


def run(config: Verify) -> None:
    """Check sizes, sums, stray files, manifests, and that each parent is the one that was read."""
    folders = artifact_folders(config.folder)
    found = {folder: artifacts.verify(folder) for folder in folders}
    by_digest = {manifest.digest for manifest in found.values()}
    for folder, manifest in found.items():
        missing = [role for role, parent in manifest.parents.items() if parent["digest"] not in by_digest]
        note = f", parents elsewhere: {', '.join(missing)}" if missing and len(folders) > 1 else ""
        n_bytes = sum(entry["bytes"] for entry in manifest.files.values())
        size = f"{len(manifest.files)} files, {n_bytes / 1e6:,.1f} MB"
        text = f"{manifest.kind}, {size}, digest {manifest.digest[:16]}{note}"
        name = folder.name if folder != config.folder else str(folder)
        result({name: {"kind": manifest.kind, "digest": manifest.digest} if config.json else text}, as_json=config.json)


def artifact_folders(folder: Path) -> list[Path]:
    """The artifacts at `folder`: itself, or its subfolders with a manifest. Raises ArtifactError when there is none."""
    if (folder / artifacts.MANIFEST).exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{artifacts.MANIFEST}")) if folder.is_dir() else []
    if not found:
        artifacts.read_manifest(folder)
        raise ArtifactError(f"{folder} holds no artifact")
    return found
