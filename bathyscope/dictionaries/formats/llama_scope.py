"""Llama Scope (OpenMOSS): the release of 2024, the one on R1-distill, and the current form.

All normalise a data set to mean length √D: `f = √D / mean‖x‖`, one factor for what is read and one for what is
written. The 2024 release folds both and the decoder's lengths first and compares the code itself with its threshold;
the later ones were trained on `pre·‖d_f‖` (or `pre`) of the normalised activations.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bathyscope.dictionaries.formats.hooks import module_path
from bathyscope.dictionaries.formats.parts import Gate, Parts, filled
from bathyscope.dictionaries.formats.pickled import open_pickled
from bathyscope.dictionaries.formats.tensor_file import TensorFile, open_safetensors, read_config
from bathyscope.dictionaries.normalise import Normalisation
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Above, Largest, Positive, Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "llama_scope"
OLD_CONFIG, OLD_WEIGHTS = "hyperparams.json", "checkpoints/final.safetensors"
CONFIG, WEIGHTS, PICKLED, SHARDED = "config.json", "sae_weights.safetensors", "sae_weights.pt", "sae_weights.dcp"
NORMS = "dataset_average_activation_norm"


def claims(path: Path) -> bool:
    """Whether `path` is such a folder."""
    if (path / OLD_CONFIG).is_file():
        return True
    return (path / CONFIG).is_file() and any((path / name).exists() for name in (WEIGHTS, PICKLED, SHARDED))


def read(place: Place) -> Parts:
    """The dictionary in the folder. Raises ArtifactError for what cannot be expressed here, by its name."""
    is_old = (place.path / OLD_CONFIG).is_file()
    file = place.path / (OLD_CONFIG if is_old else CONFIG)
    config, tensors = read_config(file), _tensors(place.path, is_old=is_old)
    _refuse_others(config, file)
    d, f = tensors.shape("W_E", axes=2) if "W_E" in tensors else tensors.shape("encoder.weight", axes=2)[::-1]
    _check_size(config, file, d, f)
    scale_in, scale_out = _scales(config, tensors, file, d)
    gate: Gate = "length" if config.get("sparsity_include_decoder_norm") else "pre"
    rule, threshold = _rule(config, tensors, file, f)
    hook, written = config.get("hook_point_in"), config.get("hook_point_out")
    return Parts(
        weights=_weights(tensors, config, threshold, d, f),
        rule=rule,
        gate="code" if is_old else gate,
        subtract_b_dec=bool(config.get("apply_decoder_bias_to_pre_encoder", False)),
        scale_in=scale_in,
        scale_out=scale_out,
        normalise=_token_norm(config, file),
        hookpoint=_hookpoint(hook),
        output_hookpoint=(_hookpoint(written) or "output") if written not in (None, hook) else None,
        format=NAME,
        origin=_origin(config),
        inferred=("hookpoint from hook_point_in",) if _hookpoint(hook) else (),
        files=(file, tensors.path),
    )


def _tensors(folder: Path, *, is_old: bool) -> TensorFile:
    if is_old or (folder / WEIGHTS).is_file():
        return open_safetensors(folder / (OLD_WEIGHTS if is_old else WEIGHTS))
    if (folder / PICKLED).is_file():
        return open_pickled(folder / PICKLED)
    raise ArtifactError(
        f"{folder / SHARDED} is a distributed checkpoint with pickled parts; save it again as {WEIGHTS} with lm-saes"
    )


def _refuse_others(config: Mapping[str, Any], file: Path) -> None:
    if config.get("sae_type", "sae") != "sae":
        raise ArtifactError(f"{file}: sae_type {config['sae_type']!r} cannot be expressed here")
    if config.get("use_glu_encoder"):
        raise ArtifactError(f"{file}: use_glu_encoder is set, a gated product that cannot be expressed here")


def _check_size(config: Mapping[str, Any], file: Path, d: int, f: int) -> None:
    expansion = config.get("expansion_factor")
    stated_f = config.get("d_sae") or (int(d * expansion) if isinstance(expansion, int | float) else f)
    if config.get("d_model", d) != d or stated_f != f:
        raise ArtifactError(
            f"{file} speaks of {stated_f} features over {config.get('d_model')}, the weights have {f} over {d}"
        )


def _scales(config: Mapping[str, Any], tensors: TensorFile, file: Path, d: int) -> tuple[float, float]:
    """√D / mean‖x‖ of what is read and of what is written."""
    if config.get("norm_activation", "dataset-wise") != "dataset-wise":
        return 1.0, 1.0
    stated = config.get(NORMS)
    norms = dict(stated) if isinstance(stated, Mapping) else {}
    for name, hook in (("in", "hook_point_in"), ("out", "hook_point_out")):
        stored = f"{NORMS}.{config.get(hook)}"
        if stored in tensors:
            norms[name] = tensors.number(stored)
        elif config.get(hook) in norms:
            norms[name] = norms[config[hook]]
    norms.setdefault("out", norms.get("in"))
    for name in ("in", "out"):
        if not isinstance(norms.get(name), int | float) or not 0 < norms[name] < math.inf:
            raise ArtifactError(
                f"{file}: activations are normalised over the data set, but the mean length ({NORMS}, {name!r}) is "
                f"{norms.get(name)!r}; without it nothing can be folded"
            )
    return math.sqrt(d) / norms["in"], math.sqrt(d) / norms["out"]


def _token_norm(config: Mapping[str, Any], file: Path) -> Normalisation | None:
    match config.get("norm_activation", "dataset-wise"):
        case "dataset-wise" | "inference" | "none" | None:
            return None
        case "token-wise":
            return "constant-norm"
        case other:
            raise ArtifactError(f"{file}: activations are normalised {other!r}, which cannot be expressed here")


def _rule(config: Mapping[str, Any], tensors: TensorFile, file: Path, f: int) -> tuple[Rule, Tensor | None]:
    stored = next((name for name in tensors.shapes if name.endswith("log_jumprelu_threshold")), None)
    scalar = config.get("jump_relu_threshold")
    match str(config.get("act_fn", "jumprelu")).lower():
        case "jumprelu" if stored:
            return Above(), tensors.take(stored, f).double().exp().float()
        case "jumprelu" | "topk" if isinstance(scalar, int | float) and scalar > 0:
            return Above(), filled(float(scalar), f)  # top-k of the 2024 release is turned into a threshold
        case "topk" | "batchtopk" if type(config.get("top_k")) is int and config.get("act_fn") == "topk":
            return Largest(k=config["top_k"]), None
        case "relu":
            return Positive(), None
        case other:
            raise ArtifactError(f"{file}: act_fn {other!r} without its threshold or k cannot be expressed here")


def _weights(tensors: TensorFile, config: Mapping[str, Any], threshold: Tensor | None, d: int, f: int) -> Weights:
    """`W_E [D, F]` and `W_D [F, D]`, or two `nn.Linear`, stored transposed."""
    names, take = ("W_E", "b_E", "W_D", "b_D"), tensors.take
    if "W_E" not in tensors:
        names, take = ("encoder.weight", "encoder.bias", "decoder.weight", "decoder.bias"), tensors.take_transposed
    has_bias = config.get("use_decoder_bias", True)
    return Weights(
        W_enc=take(names[0], d, f),
        b_enc=tensors.take(names[1], f),
        W_dec=take(names[2], f, d),
        b_dec=tensors.take(names[3], d) if has_bias else torch.zeros(d),
        threshold=threshold,
    )


def _origin(config: Mapping[str, Any]) -> dict[str, Any]:
    hook = config.get("hook_point_in")
    origin = {"hook_name": hook, "hook_name_out": config.get("hook_point_out"), "model_name": config.get("model_name")}
    origin |= {"hook_name_out": None} if origin["hook_name_out"] == hook else {}
    return {name: value for name, value in origin.items() if value is not None}


def _hookpoint(hook: object) -> str | None:
    """`blocks.7.hook_resid_post` of a Llama is the output of `layers.7`, `hook_mlp_out` that of its MLP."""
    match = re.fullmatch(r"blocks\.(\d+)\.(hook_resid_post|hook_mlp_out|hook_attn_out)", str(hook))
    if match is None:
        return module_path(hook)
    return f"layers.{match[1]}" + {"hook_mlp_out": ".mlp", "hook_attn_out": ".self_attn"}.get(match[2], "")
