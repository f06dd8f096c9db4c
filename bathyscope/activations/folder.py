"""`HookpointFolder`: what every finished folder of vectors that a model's hookpoints put out says of itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathyscope.activations.remote import local_folder
from bathyscope.artifacts import Manifest, check_file, read_manifest
from bathyscope.errors import ConfigError
from bathyscope.files import read_json

INDEX = "index.json"


class HookpointFolder:
    """A folder with an `index.json` that names its hookpoints and its model."""

    def __init__(self, path: str | Path, *, kind: str, schema: int) -> None:
        """Open `path`, a folder or an address that fsspec knows; see `remote` for what is raised beside the following.

        Raises ArtifactError when it is missing, unfinished, of another kind or damaged.
        """
        self.path = local_folder(path)
        self.manifest: Manifest = read_manifest(self.path, kind=kind, schema=schema)
        self._index: dict[str, Any] = read_json(check_file(self.path, self.manifest, INDEX))

    @property
    def hookpoints(self) -> list[str]:
        """Module paths of the hookpoints, in the order asked."""
        return list(self._index["hookpoints"])

    @property
    def model_identity(self) -> dict[str, str]:
        """The model that was read: name, checksum or revision, dtype, description."""
        return dict(self._index["model"])

    @property
    def materials(self) -> tuple[Mapping[str, str], ...]:
        """Model and texts: name, version, sha256, licence, origin."""
        return self.manifest.materials

    @property
    def description(self) -> Mapping[str, Any]:
        """All of `index.json`."""
        return self._index

    def hookpoint(self, name: str | None = None) -> str:
        """`name` after checking that the folder has it; the only one for None. Raises ConfigError otherwise."""
        if name is None and len(self.hookpoints) == 1:
            return self.hookpoints[0]
        if name not in self.hookpoints:
            asked = "several hookpoints and none is named" if name is None else f"no hookpoint {name!r}"
            raise ConfigError(f"{self.path} has {asked}; expected one of: {', '.join(self.hookpoints)}")
        return str(name)
