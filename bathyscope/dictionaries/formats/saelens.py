"""SAELens folders, 6.x and older: `cfg.json` and `sae_weights.safetensors`.

Finished dictionaries and training checkpoints. Transcoders never subtract; their skip is `x @ W_skipᵀ`.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bathyscope.dictionaries.formats.hooks import module_path
from bathyscope.dictionaries.formats.parts import Gate, Parts, expected, filled, gated
from bathyscope.dictionaries.formats.tensor_file import TensorFile, open_safetensors, read_config
from bathyscope.dictionaries.normalise import Normalisation
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Positive, Pursuit, Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "saelens"
CONFIG, WEIGHTS, SPARSITY, SCALER = (
    "cfg.json",
    "sae_weights.safetensors",
    "sparsity.safetensors",
    "activation_scaler.json",
)
METADATA = ("model_name", "hook_name", "hook_name_out", "hook_head_index", "hf_hook_name", "hf_hook_name_out")
METADATA += ("prepend_bos", "context_size", "dataset_path", "training_architecture", "sae_lens_version")
OLD_NAMES = {
    "hook_point": "hook_name",
    "hook_point_head_index": "hook_head_index",
    "activation_fn_str": "activation_fn",
}
TOKEN_NORMS: dict[str, Normalisation] = {"layer_norm": "layer-norm", "constant_norm_rescale": "constant-norm"}


def claims(path: Path) -> bool:
    """Whether `path` is such a folder."""
    return (path / CONFIG).is_file() and (path / WEIGHTS).is_file()


def read(place: Place) -> Parts:
    """The dictionary in the folder. Raises ArtifactError for what no rule here expresses, by its name."""
    file = place.path / CONFIG
    config, tensors = _config(file), open_safetensors(place.path / WEIGHTS)
    rule, gate = _rule(config, file)
    weights = _weights(config, tensors)
    metadata = config["metadata"]
    origin = {name: metadata[name] for name in METADATA if metadata.get(name) is not None}
    if config.get("reshape_activations", "none") != "none":
        origin["reshape_activations"] = config["reshape_activations"]
    files = [file, tensors.path, *(place.path / name for name in (SPARSITY, SCALER) if (place.path / name).is_file())]
    scale = _scale(config, place.path)
    return Parts(
        weights=weights,
        rule=rule,
        gate=gate,
        subtract_b_dec=bool(config.get("apply_b_dec_to_input", True)) and _output(config, file) is None,
        scale_in=scale,
        scale_out=scale,
        normalise=TOKEN_NORMS.get(str(config["normalize_activations"])),
        hookpoint=module_path(metadata.get("hf_hook_name") or metadata.get("hook_name")),
        output_hookpoint=_output(config, file),
        format=NAME,
        origin={**origin, "expected": _expected(metadata, place.path, weights.b_enc.numel())},
        files=tuple(files),
    )


def _config(file: Path) -> dict[str, Any]:
    """`cfg.json` with the names and the nesting of version 6."""
    given = read_config(file)
    config = {OLD_NAMES.get(name, name): value for name, value in given.items()}
    if not isinstance(config.get("metadata"), Mapping):
        config["metadata"] = {name: config.get(name) for name in METADATA}
    config.setdefault("architecture", "standard")
    if config.get("activation_fn") == "topk" and config["architecture"] == "standard":
        arguments = config.get("activation_fn_kwargs")
        config |= {"architecture": "topk", "k": arguments.get("k") if isinstance(arguments, Mapping) else None}
    norm = config.get("normalize_activations")
    named = {None: "none", False: "none", True: "expected_average_only_in"}
    config["normalize_activations"] = named[norm] if norm is None or isinstance(norm, bool) else norm
    for name in ("d_in", "d_sae"):
        if type(config.get(name)) is not int or config[name] < 1:
            raise ArtifactError(f"{file}: {name} is {config.get(name)!r}, expected a positive number")
    return config


def _rule(config: Mapping[str, Any], file: Path) -> tuple[Rule, Gate]:
    gate: Gate = "length" if config.get("rescale_acts_by_decoder_norm") else "pre"
    match config["architecture"]:
        case "standard" | "transcoder" | "skip_transcoder":
            return Positive(), "pre"
        case "gated" | "jumprelu" | "jumprelu_transcoder" | "jumprelu_skip_transcoder":
            return Above(), "pre"
        case "matching_pursuit":
            return _pursuit(config, file), "pre"
        case "batchtopk" | "matryoshka_batchtopk":  # training checkpoints; the finished ones are `jumprelu`
            return Above(), gate
        case "topk":
            return Largest(k=_k(config, file)), gate
        case "abstopk":
            return LargestAbsolute(k=_k(config, file)), gate
        case other:
            raise ArtifactError(f"{file}: architecture {other!r} cannot be expressed here; it was not loaded")


def _pursuit(config: Mapping[str, Any], file: Path) -> Pursuit:
    steps, least = config.get("max_iterations") or config["d_in"], config.get("residual_threshold", 1e-2)
    if type(steps) is not int or steps < 1 or not isinstance(least, int | float) or not 0 <= least < math.inf:
        raise ArtifactError(f"{file}: max_iterations is {steps!r} and residual_threshold {least!r}, expected numbers")
    once = bool(config.get("stop_on_duplicate_support", True))
    return Pursuit(k=steps, residual_threshold=float(least), stops_on_duplicate=once)


def _output(config: Mapping[str, Any], file: Path) -> str | None:
    """Where a transcoder writes; None for what is none."""
    if not str(config["architecture"]).endswith("transcoder"):
        return None
    if config["normalize_activations"] != "none":
        raise ArtifactError(f"{file}: a transcoder with activations normalised {config['normalize_activations']!r}")
    metadata = config["metadata"]
    return module_path(metadata.get("hf_hook_name_out") or metadata.get("hook_name_out")) or "output"


def _k(config: Mapping[str, Any], file: Path) -> int:
    k = config.get("k")
    if not isinstance(k, int | float) or not 1 <= k <= config["d_sae"]:
        raise ArtifactError(f"{file}: k is {k!r}, expected 1 to {config['d_sae']}")
    return int(k)


def _weights(config: Mapping[str, Any], tensors: TensorFile) -> Weights:
    d, f = config["d_in"], config["d_sae"]
    o = config.get("d_out", d) if str(config["architecture"]).endswith("transcoder") else d
    common = {"W_dec": tensors.take("W_dec", f, o), "b_dec": tensors.take("b_dec", o)}
    if config["architecture"] == "matching_pursuit":  # the decoder encodes; b_dec counts on both sides or on none
        b_dec_D = common["b_dec"] if config.get("apply_b_dec_to_input", True) else torch.zeros(d)
        W_enc_DF = torch.nn.functional.normalize(common["W_dec"], dim=1).T.contiguous()  # folding brings the lengths
        return Weights(W_enc=W_enc_DF, b_enc=torch.zeros(f), W_dec=common["W_dec"], b_dec=b_dec_D)
    common["W_enc"] = tensors.take("W_enc", d, f)
    if "W_skip" in tensors:
        common["W_skip"] = tensors.take_transposed("W_skip", d, o)
    if "scaling_factor" in tensors:  # SAELens 3 to 5: a factor on each feature's code before decoding
        common["W_dec"] *= tensors.take("scaling_factor", f)[:, None]
    if config["architecture"] == "gated":
        parts = {name: tensors.take(name, f) for name in ("r_mag", "b_gate", "b_mag")}
        return Weights(**{**common, **gated(common["W_enc"], **parts)})
    return Weights(**common, b_enc=tensors.take("b_enc", f), threshold=_threshold(tensors, f))


def _threshold(tensors: TensorFile, f: int) -> torch.Tensor | None:
    if "log_threshold" in tensors:
        return tensors.take("log_threshold", f).double().exp().float()
    if "topk_threshold" in tensors:
        return filled(tensors.number("topk_threshold"), f)
    return tensors.take("threshold", f) if "threshold" in tensors else None


def _scale(config: Mapping[str, Any], folder: Path) -> float:
    """What activations are multiplied by. Finished dictionaries have it folded in; checkpoints state it in a file."""
    norm = config["normalize_activations"]
    if norm == "none" or norm in TOKEN_NORMS:
        return 1.0
    if norm == "expected_average_only_in" and (folder / SCALER).is_file():
        factor = read_config(folder / SCALER).get("scaling_factor")
        if isinstance(factor, int | float) and math.isfinite(factor) and factor > 0:
            return float(factor)
        raise ArtifactError(f"{folder / SCALER}: scaling_factor is {factor!r}, expected a positive number")
    if norm == "expected_average_only_in":
        remedy = f'its factor √d / mean‖x‖ is not in the folder: write {{"scaling_factor": …}} into {SCALER} beside it'
    else:
        remedy = "fold it with SAELens (`fold_activation_whitening`) and save again"
    raise ArtifactError(f"{folder / CONFIG}: activations are normalised by {norm!r} and {remedy}")


def _expected(metadata: Mapping[str, Any], folder: Path, n_features: int) -> dict[str, float]:
    """L0 as stated, or as the sum of the features' stored frequencies (log10)."""
    l0 = metadata.get("l0")
    if l0 is None and (folder / SPARSITY).is_file():
        l0 = float((10 ** open_safetensors(folder / SPARSITY).take("sparsity", n_features).double()).sum())
    return expected(l0=float(l0) if isinstance(l0, int | float) else None)
