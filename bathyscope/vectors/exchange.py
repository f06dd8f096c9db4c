"""`load_vector` and `export_vector`: folders of ours, and the files of other tools."""

from pathlib import Path
from typing import Literal

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.runtime import disk_errors
from bathyscope.vectors.formats import control_vector, lm_eval, single_file
from bathyscope.vectors.vector import SteeringVector, Unit, read_vector

Format = Literal["safetensors", "gguf", "lm-eval"]
"""What a vector can be written as, besides its folder."""


def load_vector(place: str | Path, *, blocks: str = "layers") -> SteeringVector:
    """The vector of a folder of kind `vector`, or of a `.gguf`, `.safetensors` or `.pt` file.

    `blocks` is the path of the model's list of blocks (`layers`, `h`, …), for GGUF files that only number them. Raises
    ArtifactError for damaged files, other layouts, values that are not finite, and pickles that hold more than vectors.
    """
    path = Path(place)
    if path.is_dir() or not path.exists():
        return read_vector(path)
    match path.suffix:
        case ".gguf":
            return control_vector.read(path, blocks=blocks)
        case ".safetensors":
            return single_file.read(path)
        case ".pt" | ".pth":
            return lm_eval.read(path)
        case _:
            raise ArtifactError(f"{path} is no vector: expected a folder, or a .gguf, .safetensors or .pt file")


def export_vector(
    vector: SteeringVector,
    path: str | Path,
    *,
    format: Format,  # noqa: A002
    strength: float | None = None,
    of: Unit = "norm",
) -> None:
    """Write `vector` as one file. `gguf` and `lm-eval` hold the vector as it is added: at `strength` units.

    Raises ConfigError for a missing strength, or what the format cannot express, ArtifactError where a file is already.
    """
    path = Path(path)
    if path.exists():
        raise ArtifactError(f"{path} exists; choose another name or delete it")
    with disk_errors(path, doing="write"):
        path.parent.mkdir(parents=True, exist_ok=True)
        if format == "safetensors":
            if strength is not None:
                raise ConfigError("safetensors files keep units and take no strength; give it when steering")
            single_file.write(vector, path)
            return
        if strength is None:
            raise ConfigError(f"{format} files hold the vector as it is added: give a strength")
        vectors = {offset.hookpoint: offset.vector_D for offset in vector.add_all(strength, of)}
        if format == "lm-eval":
            lm_eval.write(vectors, path)
            return
        model = vector.model_identity
        told = {"model": None if model is None else dict(model), "strength": strength, "unit": of}
        control_vector.write(vectors, told, path, model_hint="" if model is None else model.get("name", ""))
