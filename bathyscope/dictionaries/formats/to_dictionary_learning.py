"""Writing dictionary_learning folders: `ae.pt`, a state dict of tensors alone, and `config.json`.

Positive → AutoEncoder (AutoEncoderNew without subtraction), Largest → AutoEncoderTopK, Above → JumpReluAutoEncoder.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.dictionary_learning import CONFIG, NAME, WEIGHTS
from bathyscope.dictionaries.formats.outgoing import layer_of, names, refuse, trained_rows, with_subtraction
from bathyscope.dictionaries.rules import Above, Largest, Positive
from bathyscope.dictionaries.weights import Weights


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files. Raises ConfigError for what dictionary_learning has no class for."""
    if not dictionary.is_of_one_place or dictionary.normalise is not None:
        raise refuse(dictionary, NAME, "it neither normalises tokens nor holds transcoders or several places")
    match dictionary.rule:
        case Positive():
            dict_class = "AutoEncoder" if dictionary.subtract_b_dec else "AutoEncoderNew"
            tensors = _linear(trained_rows(dictionary), "bias" if dictionary.subtract_b_dec else "decoder.bias")
        case Largest(k=k):
            dict_class = "AutoEncoderTopK"
            weights = with_subtraction(dictionary, trained_rows(dictionary), subtracts=True)
            tensors = _linear(weights, "b_dec")
            tensors |= {"k": torch.tensor(k, dtype=torch.int32), "threshold": torch.tensor(-1.0)}
        case Above():
            dict_class = "JumpReluAutoEncoder"
            weights = with_subtraction(dictionary, trained_rows(dictionary), subtracts=False)
            tensors = {name: weights.tensors()[name] for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}
        case _:
            raise refuse(dictionary, NAME, "it has no class for this rule; saelens has")
    stored = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    torch.save(stored, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps(_config(dictionary, dict_class), indent=1))


def _linear(weights: Weights, b_dec: str) -> dict[str, Tensor]:
    return {
        "encoder.weight": weights.W_enc.T,
        "encoder.bias": weights.b_enc,
        "decoder.weight": weights.W_dec.T,
        b_dec: weights.b_dec,
    }


def _config(dictionary: Dictionary, dict_class: str) -> dict[str, Any]:
    known, layer = names(dictionary), layer_of(dictionary)
    trainer = {
        "dict_class": dict_class,
        "trainer_class": None,
        "activation_dim": dictionary.d_model,
        "dict_size": dictionary.n_features,
        "k": dictionary.rule.k if isinstance(dictionary.rule, Largest) else None,
        "layer": layer,
        "lm_name": known.get("model_name", ""),
        "submodule_name": _submodule(dictionary, layer),
        "written_by": known["written_by"],
    }
    trainer = {name: value for name, value in trainer.items() if value is not None}
    buffer = {"d_submodule": dictionary.d_model, "io": "out", "ctx_len": known.get("context_size")}
    return {"trainer": trainer, "buffer": {name: value for name, value in buffer.items() if value is not None}}


def _submodule(dictionary: Dictionary, layer: int | None) -> str:
    """The name that the demonstration of dictionary_learning gives to a block's output, else the module path."""
    if str(names(dictionary).get("hook_name", "")).endswith("hook_resid_post"):
        return f"resid_post_layer_{layer}"
    return dictionary.hookpoint or ""
