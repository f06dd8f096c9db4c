"""The artifact folders inside a run folder, found by their manifests.

Knows kinds and names; knows nothing of what the files mean.
"""

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bathyscope import artifacts
from bathyscope.artifacts import Manifest
from bathyscope.errors import ArtifactError

log = logging.getLogger(__name__)

KINDS = ("activations", "dictionary", "features", "explanations", "scores", "generations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """One finished artifact folder."""

    path: Path
    """The folder."""
    manifest: Manifest
    """Its manifest."""

    def file(self, name: str) -> Path:
        """Full path of a listed file, its sha256 checked. Raises ArtifactError when missing or altered."""
        return artifacts.check_file(self.path, self.manifest, name)

    def holds(self, name: str) -> bool:
        """Whether the manifest lists `name`."""
        return name in self.manifest.files

    def json(self, name: str) -> Any:
        """The content of a JSON file, or an empty object when the manifest does not list it."""
        if not self.holds(name):
            return {}
        try:
            return json.loads(self.file(name).read_bytes())
        except ValueError as error:
            raise ArtifactError(f"{self.path / name} cannot be read: {error}; make {self.path} again") from error

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The objects of a JSONL file, one per line. Raises ArtifactError naming the line that cannot be read."""
        found: list[dict[str, Any]] = []
        for number, line in enumerate(self.file(name).read_text(encoding="utf-8").split("\n"), start=1):
            if not line.strip():
                continue
            try:
                found.append(json.loads(line))
            except ValueError as error:
                raise ArtifactError(f"{self.path / name}, line {number} is not JSON; make {self.path} again") from error
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """A folder whose subfolders are artifacts."""

    path: Path
    """The run folder."""
    artifacts: tuple[Artifact, ...]
    """Finished artifacts in order of the pipeline, then of the folder's name."""

    def of_kind(self, kind: str) -> tuple[Artifact, ...]:
        """Every artifact of a kind."""
        return tuple(artifact for artifact in self.artifacts if artifact.manifest.kind == kind)

    def one(self, kind: str) -> Artifact | None:
        """The artifact of a kind: the folder named like the kind, else the first by name; None when there is none."""
        found = self.of_kind(kind)
        named = [artifact for artifact in found if artifact.path.name == kind]
        if not named and len(found) > 1:
            log.warning("%s holds %d folders of kind %s; showing %s", self.path, len(found), kind, found[0].path.name)
        return (named or list(found) or [None])[0]


def open_run(path: Path) -> RunFolder:
    """The artifacts of a run folder. Raises ArtifactError when there is none to show."""
    if not path.is_dir():
        raise ArtifactError(f"{path} is not a folder: expected a run folder that holds {', '.join(KINDS)}")
    if (path / artifacts.MANIFEST).exists():
        raise ArtifactError(f"{path} is itself an artifact; give the run folder that holds it")
    folders = sorted(folder for folder in path.iterdir() if (folder / artifacts.MANIFEST).is_file())
    found = [Artifact(path=folder, manifest=artifacts.read_manifest(folder)) for folder in folders]
    if not any(artifact.manifest.kind in KINDS for artifact in found):
        raise ArtifactError(f"{path} holds no artifact to show: expected a subfolder of kind {', '.join(KINDS)}")
    return RunFolder(path=path, artifacts=tuple(sorted(found, key=_place)))


def _place(artifact: Artifact) -> tuple[int, str]:
    """Order of the pipeline; kinds that the page does not show come last."""
    kind = artifact.manifest.kind
    return KINDS.index(kind) if kind in KINDS else len(KINDS), artifact.path.name
