"""Gemma Scope 1 (`params.npz`) and 2 (`params.safetensors`): JumpReLU without subtraction, most facts in the path.

`c = ReLU(pre)·1[pre > threshold]`. Dictionaries of the embedding read x/√D and write √D times their rows.
"""

import re
from pathlib import Path
from typing import Any

from bathyscope.dictionaries.formats.hooks import module_path
from bathyscope.dictionaries.formats.parts import Parts, expected
from bathyscope.dictionaries.formats.tensor_file import TensorFile, open_npz, open_safetensors, read_config
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Above
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

FIRST, SECOND = "gemma_scope", "gemma_scope_2"
NPZ, SAFETENSORS, CONFIG = "params.npz", "params.safetensors", "config.json"


def claims(path: Path) -> bool:
    """Whether `path` is such a folder."""
    return (path / NPZ).is_file() or (path / SAFETENSORS).is_file() or any(path.glob("params_layer_*.safetensors"))


def read(place: Place) -> Parts:
    """The dictionary in the folder. Raises ArtifactError for a cross-layer transcoder, by its name."""
    if (path := place.path / NPZ).is_file():
        return _first(place, open_npz(path))
    if (path := place.path / SAFETENSORS).is_file():
        return _second(place, open_safetensors(path))
    raise ArtifactError(f"{place.path} holds a cross-layer transcoder, which cannot be expressed here")


def _first(place: Place, tensors: TensorFile) -> Parts:
    label = place.label
    layer, l0 = re.search(r"layer_(\d+)", label), re.search(r"average_l0_(\d+)", label)
    site = re.search(r"gemma-scope-(\d+b)-(pt|it)-(res|mlp|att|transcoders)", label)
    weights, origin, inferred = _weights(tensors), dict[str, Any](), ["rule and no subtraction from the format"]
    if "embedding" in label:
        width = weights.W_enc.shape[0] ** 0.5
        weights = Weights(**{**weights.tensors(), "W_enc": weights.W_enc / width, "W_dec": weights.W_dec * width})
        origin["hook_name"] = "hook_embed"
    elif site and layer:
        sites = {"res": "hook_resid_post", "mlp": "hook_mlp_out", "att": "attn.hook_z"}
        lens = sites.get(site[3], "ln2.hook_normalized")
        origin["hook_name"] = f"blocks.{layer[1]}.{lens}"
        origin |= {"reshape_activations": "hook_z"} if site[3] == "att" else {}
    if site:
        origin["model_name"] = f"google/gemma-2-{site[1]}" + ("-it" if site[2] == "it" else "")
        inferred.append("model_name and hook_name from the path")
    origin["expected"] = expected(l0=float(l0[1]) if l0 else None)
    written = f"blocks.{layer[1]}.hook_mlp_out" if site and layer and site[3] == "transcoders" else None
    origin |= {"hook_name_out": written} if written else {}
    hookpoint = _first_hookpoint(origin.get("hook_name"))
    inferred += ["hookpoint from hook_name and the model family"] if hookpoint else []
    return Parts(
        weights=weights,
        rule=Above(),
        subtract_b_dec=False,
        hookpoint=hookpoint,
        output_hookpoint=_first_hookpoint(written),
        format=FIRST,
        origin=origin,
        inferred=tuple(inferred),
        files=(tensors.path,),
    )


def _first_hookpoint(lens: str | None) -> str | None:
    """Gemma 2 adds the output of the norms after attention and MLP to the stream; `hook_z` is an input, no output."""
    match = re.fullmatch(r"blocks\.(\d+)\.(hook_resid_post|hook_mlp_out)", lens or "")
    if match is None:
        return "embed_tokens" if lens == "hook_embed" else None
    return f"layers.{match[1]}" + ("" if match[2] == "hook_resid_post" else ".post_feedforward_layernorm")


def _second(place: Place, tensors: TensorFile) -> Parts:
    file = place.path / CONFIG
    config = read_config(file) if file.is_file() else {}
    inferred = [] if config else ["everything but the tensors from the path"]
    if config.get("architecture", "jump_relu") != "jump_relu":
        raise ArtifactError(f"{file}: architecture {config['architecture']!r} cannot be expressed here")
    hook = config.get("hf_hook_point_in") or _second_hook(place.label, "in")
    written = config.get("hf_hook_point_out") or _second_hook(place.label, "out")
    transcodes = written is not None or "affine_skip_connection" in tensors
    model = _second_model(config.get("model_name"), place.label)
    origin = {"model_name": model, "hf_hook_name": hook, "hf_hook_name_out": written}
    return Parts(
        weights=_weights(tensors),
        rule=Above(),
        subtract_b_dec=False,
        hookpoint=module_path(hook),
        output_hookpoint=(module_path(written) or "output") if transcodes else None,
        format=SECOND,
        origin={name: value for name, value in origin.items() if value is not None},
        inferred=(*inferred, "rule and no subtraction from the format"),
        files=(tensors.path, *([file] if config else [])),
    )


def _second_hook(label: str, side: str) -> str | None:
    """The module whose input or output is read (or written, for a transcoder), from the names of the folders."""
    found = re.search(r"(resid_post|attn_out|mlp_out|transcoder)\w*/layer_(\d+)", label)
    if found is None or (side == "out" and found[1] != "transcoder"):
        return None
    sites = {"resid_post": ".output", "attn_out": ".self_attn.o_proj.input"}
    sites |= {"mlp_out": ".post_feedforward_layernorm.output", "transcoder": ".pre_feedforward_layernorm.output"}
    return f"model.layers.{found[2]}" + sites["mlp_out" if side == "out" else found[1]]


def _second_model(stated: object, label: str) -> str | None:
    """The model's Hub id: names in these files say `-v3` for `-3`, and `-pt` for a model that has no such ending."""
    in_path = re.search(r"gemma-scope-2-([\w-]+)", label)
    name = stated if isinstance(stated, str) else f"gemma-3-{in_path[1]}" if in_path else None
    if name is None:
        return None
    name = name.replace("-v3", "-3")
    name = name.replace("-pt", "") if "270m" in name else name
    return name if "/" in name else f"google/{name}"


def _weights(tensors: TensorFile) -> Weights:
    """`W_enc [D, F]` and `W_dec [F, O]` in the first release, `w_enc` and `w_dec` in the second; skip is `x @ A`."""
    W = "W" if "W_enc" in tensors else "w"
    d, f = tensors.shape(f"{W}_enc", axes=2)
    _, o = tensors.shape(f"{W}_dec", axes=2)
    return Weights(
        W_enc=tensors.take(f"{W}_enc", d, f),
        b_enc=tensors.take("b_enc", f),
        W_dec=tensors.take(f"{W}_dec", f, o),
        b_dec=tensors.take("b_dec", o),
        threshold=tensors.take("threshold", f),
        W_skip=tensors.take("affine_skip_connection", d, o) if "affine_skip_connection" in tensors else None,
    )
