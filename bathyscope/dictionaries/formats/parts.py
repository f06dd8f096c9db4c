"""A dictionary of another tool as its file holds it, and the folding that brings it into the neutral form.

`pre = f_in·x @ W_enc + b_enc` (b_dec taken off f_in·x first, or not), `c = rule(pre)`,
`x̂ = (c @ W_dec + b_dec) / f_out` (and `x @ W_skip`, which no factor touches).
Knows nothing of file formats.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.normalise import Normalisation
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Rule
from bathyscope.dictionaries.weights import Weights, fold
from bathyscope.errors import ArtifactError
from bathyscope.files import sha256

Gate = Literal["pre", "length", "code"]
"""What the rule looks at: `pre` itself, `pre·‖d_f‖`, or the folded code `pre·‖d_f‖ / f_out`."""

EQUAL_ROWS = 1e-5
"""Relative difference in length up to which decoder rows are folded although the rule compares features."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parts:
    """What a reader takes out of a file: tensors in our orientation, unfolded, and the conventions they follow."""

    weights: Weights
    """Tensors in float32, W_enc [D, F] and W_dec [F, O], as trained."""
    rule: Rule
    """Which features are kept."""
    subtract_b_dec: bool
    """Whether `b_dec` is taken off before encoding."""
    gate: Gate = "pre"
    """What the rule looks at."""
    scale_in: float = 1.0
    """f_in: what activations are multiplied by before encoding."""
    scale_out: float = 1.0
    """f_out: what the reconstruction is divided by."""
    normalise: Normalisation | None = None
    """What is done to each token."""
    hookpoint: str | None = None
    """Module path of what is read, where the source names one."""
    output_hookpoint: str | None = None
    """For a transcoder, module path of what is written, or `output`."""
    format: str
    """Name of the format."""
    origin: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The source's own names and figures, as JSON data."""
    inferred: tuple[str, ...] = ()
    """What was not in the file and was concluded from names."""
    files: tuple[Path, ...] = ()
    """Files that were read."""


def assemble(parts: Parts, place: Place | None = None) -> Dictionary:
    """The neutral dictionary: unit decoder rows, no scale left; codes are `pre·‖d_f‖ / f_out` of what is kept.

    A rule that compares features on `pre` would keep other ones after folding rows of different lengths: the lengths
    then stand in the weights' `gain`, and pre-activations stay as they were.
    """
    _check_finite(parts)
    hub = (
        {}
        if place is None or place.repository is None
        else {"repository": place.repository, "revision": place.revision}
    )
    parts = _without_two_scales(parts)
    norm_F = parts.weights.W_dec.norm(dim=1, dtype=torch.float64)
    is_uneven = float(norm_F.max()) > (1 + EQUAL_ROWS) * float(norm_F.min())
    if isinstance(parts.rule, Largest | LargestAbsolute) and parts.gate == "pre" and is_uneven:
        weights = _with_gain(parts, norm_F)
    else:
        weights = _folded(parts)
    return Dictionary(
        weights=weights,
        rule=parts.rule,
        subtract_b_dec=parts.subtract_b_dec,
        hookpoint=parts.hookpoint,
        output_hookpoint=parts.output_hookpoint,
        normalise=parts.normalise,
        source={
            "format": parts.format,
            **hub,
            **parts.origin,
            "inferred": list(parts.inferred),
            "files": {file.name: {"sha256": sha256(file), "bytes": file.stat().st_size} for file in parts.files},
        },
    )


def gated(W_enc: Tensor, r_mag: Tensor, b_gate: Tensor, b_mag: Tensor) -> dict[str, Tensor]:
    """A gated encoder with thresholds instead: `pre = e^r·π + b_mag`, `π > -b_gate` is `pre > b_mag - e^r·b_gate`."""
    growth_F = r_mag.double().exp()
    threshold_F = (b_mag.double() - growth_F * b_gate.double()).float()
    return {"W_enc": W_enc * growth_F.float(), "b_enc": b_mag, "threshold": threshold_F}


def filled(threshold: float, n_features: int) -> Tensor:
    """One threshold for every feature."""
    return torch.full((n_features,), threshold, dtype=torch.float32)


def expected(*, l0: float | None = None, variance_explained: float | None = None) -> dict[str, float]:
    """The figures that a source states of its dictionary, without those that it does not."""
    stated = {"l0": l0, "variance_explained": variance_explained}
    return {name: float(value) for name, value in stated.items() if value is not None}


def _check_finite(parts: Parts) -> None:
    for name, tensor in parts.weights.tensors().items():
        if not bool(tensor.isfinite().all()):
            where = parts.files[-1] if parts.files else "the file"
            raise ArtifactError(f"{where}: {name} holds NaN or infinite numbers; the file is damaged or never trained")
    if isinstance(parts.rule, Above) and parts.weights.threshold is None:
        where = parts.files[-1] if parts.files else "the file"
        raise ArtifactError(f"{where}: the threshold is missing")


def _without_two_scales(parts: Parts) -> Parts:
    """The same with one scale: the other one goes into the encoder (after `b_dec`'s part, which has the first)."""
    if parts.scale_in == parts.scale_out:
        return parts
    weights, subtract = parts.weights, parts.subtract_b_dec
    b_enc_F = weights.b_enc - weights.b_dec @ weights.W_enc if subtract else weights.b_enc
    W_enc_DF = weights.W_enc * (parts.scale_in / parts.scale_out)
    weights = dataclasses.replace(weights, W_enc=W_enc_DF, b_enc=b_enc_F)
    return dataclasses.replace(parts, weights=weights, subtract_b_dec=False, scale_in=parts.scale_out)


def _folded(parts: Parts) -> Weights:
    weights = fold(parts.weights, scale=parts.scale_out)
    if parts.weights.threshold is None or parts.gate == "pre":
        return weights
    divisor = parts.scale_out if parts.gate == "length" else 1.0
    return dataclasses.replace(weights, threshold=(parts.weights.threshold.double() / divisor).float())


def _with_gain(parts: Parts, norm_F: Tensor) -> Weights:
    weights, scale = parts.weights, parts.scale_out
    return dataclasses.replace(
        weights,
        W_enc=weights.W_enc * scale,
        W_dec=(weights.W_dec.double() / norm_F.clamp_min(1e-30)[:, None]).float(),
        b_dec=weights.b_dec / scale,
        gain=(norm_F / scale).float(),
    )
