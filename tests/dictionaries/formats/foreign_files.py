"""Tiny files as other tools write them, each beside a plain dense reading of that tool's semantics."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bathyscope.dictionaries.dictionary import load_dictionary
from bathyscope.errors import ArtifactError


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@dataclass(frozen=True)
class Foreign:
    """A file on disk and what the tool that wrote it makes of x."""

    place: Path
    encode: Callable[[Tensor], Tensor]
    """Codes in the tool's own units, dense [N, F]."""
    decode: Callable[[Tensor, Tensor], Tensor]
    """Reconstruction from those codes and x."""
    rows: Tensor
    """Decoder rows [F, O] in the units of the reconstruction; a code of ours is theirs times the row's length."""

    def codes(self, x: Tensor) -> Tensor:
        return self.encode(x) * self.rows.norm(dim=1)

    def reconstruct(self, x: Tensor) -> Tensor:
        return self.decode(self.encode(x), x)


def refused(place: Path, why: str) -> str:
    """The refusal, which must be one line that names the place."""
    with pytest.raises(ArtifactError, match=why) as caught:
        load_dictionary(place)
    message = str(caught.value)
    assert "\n" not in message and str(place) in message
    return message


def raw(d: int, f: int, o: int | None = None, *, unit: bool = False) -> dict[str, Tensor]:
    """Tensors in our orientation, decoder rows of lengths from about 0.5 to 3."""
    rows = draw(f, o or d, seed=2)
    rows = rows / rows.norm(dim=1, keepdim=True)
    if not unit:
        rows = rows * (0.5 + 2.5 * torch.rand(f, 1, generator=torch.Generator().manual_seed(7)))
    return {
        "W_enc": draw(d, f, seed=0) / d**0.5,
        "b_enc": 0.3 * draw(f, seed=1),
        "W_dec": rows,
        "b_dec": 0.5 * draw(o or d, seed=3),
        "threshold": 0.4 + 0.3 * draw(f, seed=4).abs(),
    }


def top(values: Tensor, by: Tensor, k: int) -> Tensor:
    """`values` where `by` is among the k largest of its row, else 0."""
    return torch.zeros_like(values).scatter(1, by.topk(k).indices, 1.0) * values


def write_json(file: Path, data: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))


def write_safetensors(file: Path, tensors: dict[str, Tensor]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, file)


def normalised(x: Tensor, norm: str) -> Tensor:
    if norm == "layer_norm":
        x = x - x.mean(1, keepdim=True)
        return x / (x.std(1, keepdim=True) + 1e-5)
    return x * x.shape[1] ** 0.5 / x.norm(dim=1, keepdim=True) if norm == "constant_norm_rescale" else x


def saelens(
    folder: Path, *, d: int = 6, f: int = 20, unit: bool = False, drop: tuple[str, ...] = (), **config: Any
) -> Foreign:
    """A SAELens 6 folder of any of the plain architectures."""
    architecture, t = config.get("architecture", "standard"), raw(d, f, unit=unit)
    names = ["W_enc", "b_enc", "W_dec", "b_dec"] + (["threshold"] if architecture == "jumprelu" else [])
    write_safetensors(folder / "sae_weights.safetensors", {n: t[n] for n in names if n not in drop})
    base = {"architecture": architecture, "d_in": d, "d_sae": f, "dtype": "float32", "apply_b_dec_to_input": True}
    base |= {
        "normalize_activations": "none",
        "metadata": {"sae_lens_version": "6.54.12", "hook_name": "blocks.2.hook_resid_post"},
    }
    config = {**base, **config}
    write_json(folder / "cfg.json", config)
    norm = config["normalize_activations"]

    def encode(x: Tensor) -> Tensor:
        pre = (normalised(x, norm) - (t["b_dec"] if config["apply_b_dec_to_input"] else 0)) @ t["W_enc"] + t["b_enc"]
        ranked = pre * t["W_dec"].norm(dim=1) if config.get("rescale_acts_by_decoder_norm") else pre
        match architecture:
            case "topk":
                return top(ranked.relu(), ranked, config["k"])
            case "abstopk":
                return top(ranked, ranked.abs(), config["k"])
            case "jumprelu":
                return pre.relu() * (pre > t["threshold"])
            case _:
                return pre.relu()

    def decode(codes: Tensor, x: Tensor) -> Tensor:
        if config.get("rescale_acts_by_decoder_norm"):
            codes = codes / t["W_dec"].norm(dim=1)
        out = codes @ t["W_dec"] + t["b_dec"]
        if norm == "layer_norm":
            return out * x.std(1, keepdim=True) + x.mean(1, keepdim=True)
        return out * x.norm(dim=1, keepdim=True) / d**0.5 if norm == "constant_norm_rescale" else out

    rows = t["W_dec"]
    if config.get("rescale_acts_by_decoder_norm"):
        rows = rows / rows.norm(dim=1, keepdim=True)
    return Foreign(folder, encode, decode, rows)


def saelens_transcoder(folder: Path, *, d: int = 6, f: int = 20, o: int = 6, skip: bool, jump: bool) -> Foreign:
    t, W_skip = raw(d, f, o), draw(o, d, seed=9)
    names = ["W_enc", "b_enc", "W_dec", "b_dec"] + (["threshold"] if jump else [])
    write_safetensors(
        folder / "sae_weights.safetensors", {n: t[n] for n in names} | ({"W_skip": W_skip} if skip else {})
    )
    architecture = ("jumprelu_" if jump else "") + ("skip_" if skip else "") + "transcoder"
    metadata = {
        "sae_lens_version": "6.54.12",
        "hook_name": "blocks.2.hook_mlp_in",
        "hook_name_out": "blocks.2.hook_mlp_out",
    }
    config = {"architecture": architecture, "d_in": d, "d_out": o, "d_sae": f, "apply_b_dec_to_input": False}
    write_json(folder / "cfg.json", {**config, "normalize_activations": "none", "metadata": metadata})

    def encode(x: Tensor) -> Tensor:
        pre = x @ t["W_enc"] + t["b_enc"]
        return pre.relu() * (pre > t["threshold"]) if jump else pre.relu()

    return Foreign(folder, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"] + (x @ W_skip.T if skip else 0), t["W_dec"])


def saelens_gated(folder: Path, *, d: int = 6, f: int = 20) -> Foreign:
    t, r_mag, b_gate, b_mag = raw(d, f), 0.3 * draw(f, seed=5), 0.2 * draw(f, seed=6), 0.2 * draw(f, seed=8)
    tensors = {
        "W_enc": t["W_enc"],
        "W_dec": t["W_dec"],
        "b_dec": t["b_dec"],
        "r_mag": r_mag,
        "b_gate": b_gate,
        "b_mag": b_mag,
    }
    write_safetensors(folder / "sae_weights.safetensors", tensors)
    metadata = {"sae_lens_version": "6.54.12"}
    write_json(folder / "cfg.json", {"architecture": "gated", "d_in": d, "d_sae": f, "metadata": metadata})

    def encode(x: Tensor) -> Tensor:
        x = x - t["b_dec"]
        return (x @ t["W_enc"] + b_gate > 0) * (x @ (t["W_enc"] * r_mag.exp()) + b_mag).relu()

    return Foreign(folder, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"], t["W_dec"])


def saelens_pursuit(folder: Path, *, d: int = 6, f: int = 20, least: float = 0.2) -> Foreign:
    t = raw(d, f)
    write_safetensors(folder / "sae_weights.safetensors", {"W_dec": 0.4 * t["W_dec"], "b_dec": t["b_dec"]})
    config = {"architecture": "matching_pursuit", "max_iterations": 4, "residual_threshold": least}
    config |= {"stop_on_duplicate_support": True, "apply_b_dec_to_input": True}
    write_json(folder / "cfg.json", {**config, "d_in": d, "d_sae": f, "metadata": {"sae_lens_version": "6.54.12"}})
    W = 0.4 * t["W_dec"]

    def one(r: Tensor) -> Tensor:
        codes, r = torch.zeros(f), r.clone()
        for _ in range(4):
            best = int((W @ r).argmax())
            value = torch.relu(W[best] @ r)
            is_again = bool(codes[best] != 0) or float(value) == 0
            codes[best] += value
            r = r - value * W[best]
            if is_again or float(r.norm()) < least:
                break
        return codes

    return Foreign(folder, lambda x: torch.stack([one(r) for r in x - t["b_dec"]]), lambda c, x: c @ W + t["b_dec"], W)


def dictionary_learning(
    folder: Path, dict_class: str, *, d: int = 6, f: int = 20, threshold: float = 0.6, config: bool = True
) -> Foreign:
    """`ae.pt` and `config.json` of one of the classes."""
    t, k = raw(d, f), 4
    linear = {"encoder.weight": t["W_enc"].T, "decoder.weight": t["W_dec"].T}
    with_bias = {**linear, "encoder.bias": t["b_enc"]}
    counted = {"k": torch.tensor(k, dtype=torch.int32), "threshold": torch.tensor(threshold)}
    plain = {name: t[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
    r_mag, gate, mag = 0.3 * draw(f, seed=5), 0.2 * draw(f, seed=6), 0.2 * draw(f, seed=8)
    state = {
        "AutoEncoder": {**with_bias, "bias": t["b_dec"]},
        "AutoEncoderNew": {**with_bias, "decoder.bias": t["b_dec"]},
        "AutoEncoderTopK": {**with_bias, **counted, "b_dec": t["b_dec"]},
        "BatchTopKSAE": {**with_bias, **counted, "b_dec": t["b_dec"]},
        "MatryoshkaBatchTopKSAE": {**plain, **counted, "group_sizes": torch.tensor([f // 2, f - f // 2])},
        "JumpReluAutoEncoder": {**plain, "threshold": t["threshold"]},
        "GatedAutoEncoder": {**linear, "decoder_bias": t["b_dec"], "r_mag": r_mag, "gate_bias": gate, "mag_bias": mag},
    }[dict_class]
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(state, folder / "ae.pt")
    if config:
        trainer = {
            "dict_class": dict_class,
            "activation_dim": d,
            "dict_size": f,
            "k": k,
            "layer": 3,
            "lm_name": "",
            "submodule_name": "",
        }
        write_json(folder / "config.json", {"trainer": trainer})

    def encode(x: Tensor) -> Tensor:
        x = x if dict_class in ("AutoEncoderNew", "JumpReluAutoEncoder") else x - t["b_dec"]
        pre = x @ t["W_enc"] + t["b_enc"]
        match dict_class:
            case "AutoEncoderTopK":
                return top(pre.relu(), pre.relu(), k)
            case "BatchTopKSAE" | "MatryoshkaBatchTopKSAE":
                return pre.relu() * (pre.relu() > threshold)
            case "JumpReluAutoEncoder":
                return (pre * (pre > t["threshold"])).relu()
            case "GatedAutoEncoder":
                inner = x @ t["W_enc"]
                return (inner + gate > 0) * (r_mag.exp() * inner + mag).relu()
            case _:
                return pre.relu()

    return Foreign(folder, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"], t["W_dec"])


def sparsify(
    folder: Path, *, d: int = 6, f: int = 20, transcode: bool = False, skip: bool = False, **config: Any
) -> Foreign:
    t, k, W_skip = raw(d, f), 4, draw(d, d, seed=9)
    tensors = {"encoder.weight": t["W_enc"].T, "encoder.bias": t["b_enc"], "W_dec": t["W_dec"], "b_dec": t["b_dec"]}
    write_safetensors(folder / "sae.safetensors", tensors | ({"W_skip": W_skip} if skip else {}))
    base = {
        "activation": "topk",
        "expansion_factor": 32,
        "normalize_decoder": False,
        "num_latents": f,
        "k": k,
        "d_in": d,
    }
    write_json(folder / "cfg.json", {**base, "transcode": transcode, "skip_connection": skip, **config})

    def encode(x: Tensor) -> Tensor:
        pre = (x if transcode else x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
        return top(pre, pre.abs(), k) if config.get("signed") else top(pre.relu(), pre.relu(), k)

    return Foreign(folder, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"] + (x @ W_skip.T if skip else 0), t["W_dec"])


def gemma_scope(folder: Path, *, d: int = 6, f: int = 20) -> Foreign:
    """The first release; x/√D and √D times the rows below a folder `embedding`."""
    t = raw(d, f)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in t.items()}
    np.savez(folder / "params.npz", **arrays)
    width = d**0.5 if "embedding" in folder.as_posix() else 1.0

    def encode(x: Tensor) -> Tensor:
        pre = x / width @ t["W_enc"] + t["b_enc"]
        return pre.relu() * (pre > t["threshold"])

    return Foreign(folder, encode, lambda c, x: c @ (width * t["W_dec"]) + t["b_dec"], width * t["W_dec"])


def gemma_scope_2(folder: Path, *, d: int = 6, f: int = 20, o: int = 6, affine: bool = False, **config: Any) -> Foreign:
    t, A = raw(d, f, o), draw(d, o, seed=9)
    tensors = {name.replace("W_", "w_"): tensor for name, tensor in t.items()}
    write_safetensors(folder / "params.safetensors", tensors | ({"affine_skip_connection": A} if affine else {}))
    if config:
        write_json(folder / "config.json", {"architecture": "jump_relu", **config})

    def encode(x: Tensor) -> Tensor:
        pre = x @ t["W_enc"] + t["b_enc"]
        return pre.relu() * (pre > t["threshold"])

    return Foreign(folder, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"] + (x @ A if affine else 0), t["W_dec"])


def llama_scope_2024(
    folder: Path, *, d: int = 6, f: int = 20, norms: tuple[float, float] = (5.0, 5.0), **config: Any
) -> Foreign:
    """Folded as the tool does it: biases and rows by two factors, then lengths into the encoder, then the gate."""
    t = raw(d, f)
    tensors = {"encoder.weight": t["W_enc"].T, "encoder.bias": t["b_enc"], "decoder.weight": t["W_dec"].T}
    write_safetensors(folder / "checkpoints" / "final.safetensors", {**tensors, "decoder.bias": t["b_dec"]})
    hooks = {"hook_point_in": "blocks.7.hook_resid_post", "hook_point_out": "blocks.7.hook_resid_post"}
    base = {
        "d_model": d,
        "d_sae": f,
        "act_fn": "jumprelu",
        "jump_relu_threshold": 0.9,
        "norm_activation": "dataset-wise",
    }
    base |= {"dataset_average_activation_norm": {"in": norms[0], "out": norms[1]}, **hooks}
    write_json(folder / "hyperparams.json", {**base, **config})
    f_in, f_out = d**0.5 / norms[0], d**0.5 / norms[1]
    W_dec = t["W_dec"] * (f_in / f_out)
    n = W_dec.norm(dim=1)
    W_enc, b_enc, W_dec, b_dec = t["W_enc"] * n, t["b_enc"] / f_in * n, W_dec / n[:, None], t["b_dec"] / f_out

    def encode(x: Tensor) -> Tensor:
        pre = x @ W_enc + b_enc
        return pre.relu() * (pre > 0.9)

    return Foreign(folder, encode, lambda c, x: c @ W_dec + b_dec, W_dec)


def llama_scope(
    folder: Path, *, d: int = 6, f: int = 20, names: str = "current", by_length: bool = False, **config: Any
) -> Foreign:
    """The release on R1-distill (`names="linear"`) and the current form; the gate is on normalised pre-activations."""
    t, norm = raw(d, f), 5.0
    if names == "linear":
        tensors = {"encoder.weight": t["W_enc"].T, "encoder.bias": t["b_enc"], "decoder.weight": t["W_dec"].T}
        tensors |= {"decoder.bias": t["b_dec"], "log_jumprelu_threshold": t["threshold"].log()}
    else:
        tensors = {"W_E": t["W_enc"], "b_E": t["b_enc"], "W_D": t["W_dec"], "b_D": t["b_dec"]}
        tensors["activation_function.log_jumprelu_threshold"] = t["threshold"].log()
    hook = "blocks.7.hook_mlp_out"
    tensors[f"dataset_average_activation_norm.{hook}"] = torch.tensor(norm)
    write_safetensors(folder / "sae_weights.safetensors", tensors)
    base = {"sae_type": "sae", "d_model": d, "expansion_factor": f / d, "act_fn": "jumprelu", "hook_point_in": hook}
    base |= {"hook_point_out": hook, "norm_activation": "dataset-wise", "sparsity_include_decoder_norm": by_length}
    write_json(folder / "config.json", {**base, **config})
    factor = d**0.5 / norm

    def encode(x: Tensor) -> Tensor:
        pre = factor * x @ t["W_enc"] + t["b_enc"]
        return pre.relu() * ((pre * t["W_dec"].norm(dim=1) if by_length else pre) > t["threshold"])

    return Foreign(folder, encode, lambda c, x: (c @ t["W_dec"] + t["b_dec"]) / factor, t["W_dec"] / factor)


def openai_gpt2(file: Path, *, d: int = 6, f: int = 20, activation: str | None = "TopK", **extra: Any) -> Foreign:
    t, k = raw(d, f), 4
    state: dict[str, Any] = {"encoder.weight": t["W_enc"].T, "latent_bias": t["b_enc"], "decoder.weight": t["W_dec"].T}
    state |= {"pre_bias": t["b_dec"], "stats_last_nonzero": torch.zeros(f, dtype=torch.int64)}
    if activation:
        state["activation"] = activation
    if activation == "TopK":
        state["activation_state_dict"] = {"k": k, "postact_fn": "ReLU"}
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({**state, **extra}, file)

    def encode(x: Tensor) -> Tensor:
        if activation == "TopK":
            x = x - x.mean(1, keepdim=True)
            x = x / (x.std(1, keepdim=True) + 1e-5)
        pre = (x - t["b_dec"]) @ t["W_enc"] + t["b_enc"]
        return top(pre, pre, k).relu() if activation == "TopK" else pre.relu()

    def decode(codes: Tensor, x: Tensor) -> Tensor:
        out = codes @ t["W_dec"] + t["b_dec"]
        return out * x.std(1, keepdim=True) + x.mean(1, keepdim=True) if activation == "TopK" else out

    return Foreign(file, encode, decode, t["W_dec"])


def qwen_scope(folder: Path, *, d: int = 6, f: int = 1024, k: int = 4) -> Foreign:
    t, file = raw(d, f), folder / f"SAE-Res-Qwen3-1.7B-Base-W{f // 1024}K-L0_{k}" / "layer7.sae.pt"
    file.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"W_enc": t["W_enc"].T, "W_dec": t["W_dec"].T, "b_enc": t["b_enc"], "b_dec": t["b_dec"]}, file)

    def encode(x: Tensor) -> Tensor:
        pre = x @ t["W_enc"] + t["b_enc"]
        return top(pre.relu(), pre, k)

    return Foreign(file, encode, lambda c, x: c @ t["W_dec"] + t["b_dec"], t["W_dec"])
