"""Writing SAELens 6 folders: `cfg.json` and `sae_weights.safetensors`.

Positive → standard, Largest → topk, LargestAbsolute → abstopk, Above → jumprelu, Pursuit → matching_pursuit; a
transcoder → transcoder or jumprelu_transcoder, with `skip` where it has one.
"""

import json
from pathlib import Path
from typing import Any

from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.formats.outgoing import names, refuse, save_tensors, trained_rows
from bathyscope.dictionaries.formats.saelens import CONFIG, NAME, TOKEN_NORMS, WEIGHTS
from bathyscope.dictionaries.rules import Above, Largest, LargestAbsolute, Linear, Positive, Pursuit

LAYOUT = "6.0.0"
"""The SAELens version whose layout this is; without one, SAELens takes a folder for an older one."""


def write(dictionary: Dictionary, folder: Path) -> None:
    """Write both files. Raises ConfigError for what SAELens has no architecture for."""
    architecture = _architecture(dictionary)
    weights = trained_rows(dictionary)
    tensors = {"W_enc": weights.W_enc, "b_enc": weights.b_enc, "W_dec": weights.W_dec, "b_dec": weights.b_dec}
    if isinstance(dictionary.rule, Above) and weights.threshold is not None:
        tensors["threshold"] = weights.threshold
    if isinstance(dictionary.rule, Pursuit):  # one tensor encodes and decodes
        atoms_FD = weights.W_dec * weights.W_enc.norm(dim=0)[:, None]
        tensors = {"W_dec": atoms_FD, "b_dec": weights.b_dec}
    if weights.W_skip is not None:
        tensors["W_skip"] = weights.W_skip.T
    save_tensors(tensors, folder / WEIGHTS)
    config = {"architecture": architecture, **_sizes(dictionary), **_settings(dictionary)}
    metadata = {"sae_lens_version": LAYOUT, "sae_lens_training_version": None, **names(dictionary)}
    (folder / CONFIG).write_text(json.dumps({**config, "metadata": metadata}, indent=1))


def _architecture(dictionary: Dictionary) -> str:
    if dictionary.blocks:
        raise refuse(dictionary, NAME, "it reads several places side by side")
    if dictionary.output_hookpoint is not None:
        return _transcoder(dictionary)
    match dictionary.rule:
        case Positive():
            return "standard"
        case Largest():
            return "topk"
        case LargestAbsolute():
            return "abstopk"
        case Above():
            return "jumprelu"
        case Pursuit(is_signed=False) if dictionary.subtract_b_dec or not bool(dictionary.b_dec.any()):
            return "matching_pursuit"
        case Linear():
            raise refuse(dictionary, NAME, "it has no architecture that keeps signed codes without choosing among them")
        case _:
            raise refuse(dictionary, NAME, "its matching pursuit is unsigned and starts from x - b_dec")


def _transcoder(dictionary: Dictionary) -> str:
    if not isinstance(dictionary.rule, Positive | Above):
        raise refuse(dictionary, NAME, "its transcoders keep what is positive or above a threshold")
    if dictionary.subtract_b_dec or dictionary.normalise:
        raise refuse(dictionary, NAME, "its transcoders neither subtract b_dec nor normalise")
    skip = "" if dictionary.weights.W_skip is None else "skip_"
    return ("jumprelu_" if isinstance(dictionary.rule, Above) else "") + f"{skip}transcoder"


def _sizes(dictionary: Dictionary) -> dict[str, Any]:
    sizes = {"d_in": dictionary.d_model, "d_sae": dictionary.n_features, "dtype": "float32", "device": "cpu"}
    return sizes if dictionary.output_hookpoint is None else {**sizes, "d_out": dictionary.d_out}


def _settings(dictionary: Dictionary) -> dict[str, Any]:
    norms = {ours: theirs for theirs, ours in TOKEN_NORMS.items()}
    source = dictionary.source or {}
    settings: dict[str, Any] = {
        "apply_b_dec_to_input": dictionary.subtract_b_dec,
        "normalize_activations": norms[dictionary.normalise] if dictionary.normalise else "none",
        "reshape_activations": source.get("reshape_activations", "none"),
    }
    match dictionary.rule:
        case Largest(k=k) | LargestAbsolute(k=k):
            settings |= {"k": k, "rescale_acts_by_decoder_norm": False}
        case Pursuit() as rule:
            settings |= {"max_iterations": rule.k, "residual_threshold": rule.residual_threshold}
            settings |= {"stop_on_duplicate_support": rule.stops_on_duplicate}
        case _:
            pass
    return settings
