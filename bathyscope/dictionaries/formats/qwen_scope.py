"""Qwen Scope: `layer<N>.sae.pt` with `W_enc [F, D]` and `W_dec [D, F]`; k and width stand in the repository's name.

`pre = x @ W_encᵀ + b_enc`, then the k largest; nothing is subtracted.
"""

import re
from pathlib import Path

from bathyscope.dictionaries.formats.hooks import lens_residual
from bathyscope.dictionaries.formats.parts import Parts, expected
from bathyscope.dictionaries.formats.pickled import open_pickled
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "qwen_scope"
_FILE = re.compile(r"layer(\d+)\.sae\.pt")
_REPOSITORY = re.compile(r"SAE-Res-(.+?)-W(\d+)K-L0_(\d+)")


def claims(path: Path) -> bool:
    """Whether `path` is such a file."""
    return path.is_file() and _FILE.fullmatch(path.name) is not None


def read(place: Place) -> Parts:
    """The dictionary in the file. Raises ArtifactError where the path does not hold the repository's name."""
    layer, named = _FILE.fullmatch(place.path.name), _REPOSITORY.search(place.label)
    if layer is None or named is None:
        raise ArtifactError(
            f"{place.path}: k is not in the file; keep it below a folder with the repository's name "
            "(SAE-Res-<model>-W<width>K-L0_<k>)"
        )
    tensors = open_pickled(place.path)
    f, d = tensors.shape("W_enc", axes=2)
    if f != int(named[2]) * 1024:
        raise ArtifactError(f"{place.path} has {f} features, the repository's name says {int(named[2]) * 1024}")
    return Parts(
        weights=Weights(
            W_enc=tensors.take_transposed("W_enc", d, f),
            b_enc=tensors.take("b_enc", f),
            W_dec=tensors.take_transposed("W_dec", f, d),
            b_dec=tensors.take("b_dec", d),
        ),
        rule=Largest(k=int(named[3])),
        subtract_b_dec=False,
        hookpoint=f"layers.{layer[1]}",
        format=NAME,
        origin={
            "model_name": f"Qwen/{named[1]}",
            "hook_name": lens_residual(int(layer[1])),
            "expected": expected(l0=float(named[3])),
        },
        inferred=("k and model_name from the repository's name", "hook_name and hookpoint from the file's name"),
        files=(place.path,),
    )
