"""sparsify folders (EleutherAI): `cfg.json` and `sae.safetensors`, in a folder named after the hookpoint.

`pre = (x - b_dec) @ encoder.weightᵀ + encoder.bias`, ReLU, then the k largest; a transcoder reads the module's input
without subtraction, and its skip is `x @ W_skipᵀ`. `W_dec` is [F, D] as ours; SAELens' converter transposes it again
and takes the subtraction from another flag.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bathyscope.dictionaries.formats.hooks import module_path
from bathyscope.dictionaries.formats.parts import Parts
from bathyscope.dictionaries.formats.tensor_file import open_safetensors, read_config
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Largest, LargestAbsolute, Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "sparsify"
CONFIG, WEIGHTS, RUN = "cfg.json", "sae.safetensors", "config.json"


def claims(path: Path) -> bool:
    """Whether `path` is such a folder."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def read(place: Place) -> Parts:
    """The dictionary in the folder. Raises ArtifactError for what no rule here expresses, by its name."""
    file, tensors = place.path / CONFIG, open_safetensors(place.path / WEIGHTS)
    config = read_config(file)
    f, d = tensors.shape("encoder.weight", axes=2)
    if config.get("d_in", d) != d or _n_latents(config, d) not in (None, f):
        raise ArtifactError(f"{file} speaks of another size than {tensors.path}, which has {f} features over {d}")
    transcodes, skips = bool(config.get("transcode")), bool(config.get("skip_connection"))
    folder = _hookpoint_folder(place)
    hookpoint = module_path(folder.name)
    run = next((read_config(up / RUN) for up in folder.parents[:1] if (up / RUN).is_file()), {})
    origin = {"model_name": run.get("model"), "context_size": run.get("ctx_len"), "dataset_path": run.get("dataset")}
    return Parts(
        weights=Weights(
            W_enc=tensors.take_transposed("encoder.weight", d, f),
            b_enc=tensors.take("encoder.bias", f),
            W_dec=tensors.take("W_dec", f, d),
            b_dec=tensors.take("b_dec", d),
            W_skip=tensors.take_transposed("W_skip", d, d) if skips else None,
        ),
        rule=_rule(config, file, f),
        subtract_b_dec=not transcodes,
        hookpoint=None if transcodes else hookpoint,
        output_hookpoint=(hookpoint or "output") if transcodes else None,
        format=NAME,
        origin={name: value for name, value in origin.items() if value is not None},
        inferred=("hookpoint from the name of the folder",) if hookpoint else (),
        files=(file, tensors.path),
    )


def _rule(config: Mapping[str, Any], file: Path, f: int) -> Rule:
    activation, k = config.get("activation", "topk"), config.get("k")
    if activation != "topk":
        raise ArtifactError(f"{file}: activation {activation!r} cannot be expressed here; it was not loaded")
    if type(k) is not int or not 1 <= k <= f:
        raise ArtifactError(f"{file}: k is {k!r}, expected 1 to {f}")
    return LargestAbsolute(k=k) if config.get("signed") else Largest(k=k)


def _n_latents(config: Mapping[str, Any], d: int) -> int | None:
    """Number of latents that the settings speak of; 0 or nothing means width times expansion."""
    stated, expansion = config.get("num_latents"), config.get("expansion_factor")
    return stated or (d * expansion if isinstance(expansion, int) else None)


def _hookpoint_folder(place: Place) -> Path:
    """The folder named after the hookpoint: this one, or the one above a folder `seed<N>`."""
    folder = place.path.absolute()
    return folder.parent if folder.name.startswith("seed") else folder
