"""dictionary_learning folders: `ae.pt` (a state dict) and `config.json`, whose `dict_class` decides what tensors mean.

Of the classes, AutoEncoder, AutoEncoderTopK, BatchTopKSAE, MatryoshkaBatchTopKSAE and GatedAutoEncoder subtract the
decoder bias, AutoEncoderNew and JumpReluAutoEncoder do not. AutoEncoderTopK keeps k per token although it stores a
threshold; the batch classes keep what is above theirs. -1 means that it was never calibrated.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from bathyscope.dictionaries.formats.hooks import lens_residual
from bathyscope.dictionaries.formats.parts import Parts, filled, gated
from bathyscope.dictionaries.formats.pickled import names_in, open_pickled
from bathyscope.dictionaries.formats.tensor_file import TensorFile, read_config
from bathyscope.dictionaries.place import Place
from bathyscope.dictionaries.rules import Above, Largest, Positive, Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.errors import ArtifactError

NAME = "dictionary_learning"
CONFIG, WEIGHTS, STEPS = "config.json", "ae.pt", "checkpoints"
NO_SUBTRACTION = ("AutoEncoderNew", "JumpReluAutoEncoder")
BACKUP = {"step", "ae", "optimizer"}


def claims(path: Path) -> bool:
    """Whether `path` is a folder with `ae.pt`, or a checkpoint `ae_<step>.pt` of one."""
    return (path / WEIGHTS).is_file() or (path.is_file() and re.fullmatch(r"ae(_\d+)?\.pt", path.name) is not None)


def read(place: Place) -> Parts:
    """The dictionary in the folder or file. Raises ArtifactError for a backup or an uncalibrated threshold."""
    file = place.path if place.path.is_file() else place.path / WEIGHTS
    names = names_in(file)
    if names >= {"step", "ae"} or (names and names <= BACKUP):
        raise ArtifactError(
            f"{file} is a backup from the middle of a run, with optimiser and unscaled biases, under the name of the "
            "finished file; let the run finish, or give a file of its checkpoints folder"
        )
    tensors, config = open_pickled(file), _config(file)
    trainer = _section(config, "trainer")
    dict_class, inferred = _dict_class(trainer, tensors)
    arrange, rule_of = CLASSES[dict_class]
    weights = arrange(tensors)
    _check_size(trainer, weights, file)
    rule = rule_of(tensors, trainer)
    origin, named = _origin(trainer, config, tensors)
    return Parts(
        weights=weights,
        rule=rule,
        subtract_b_dec=dict_class not in NO_SUBTRACTION,
        format=NAME,
        origin={"dict_class": dict_class, **origin},
        inferred=inferred + named,
        files=(file, *([_config_file(file)] if config else [])),
    )


def _config_file(file: Path) -> Path:
    """`config.json` beside the file, or above the `checkpoints` folder that holds it."""
    folder = file.parent.parent if file.parent.name == STEPS else file.parent
    return folder / CONFIG


def _config(file: Path) -> dict[str, Any]:
    found = _config_file(file)
    return read_config(found) if found.is_file() else {}


def _section(config: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """A part of the settings; empty where it is missing, as `buffer` often is."""
    found = config.get(name)
    return found if isinstance(found, Mapping) else {}


def _dict_class(trainer: Mapping[str, Any], tensors: TensorFile) -> tuple[str, tuple[str, ...]]:
    """The class as stated, or the only one with these tensors."""
    stated = trainer.get("dict_class")
    if stated in CLASSES:
        return str(stated), ()
    if stated is not None:
        raise ArtifactError(f"{tensors.path}: dict_class {stated!r} is not known; known are {', '.join(CLASSES)}")
    telling = {
        "mag_bias": "GatedAutoEncoder",
        "group_sizes": "MatryoshkaBatchTopKSAE",
        "decoder.bias": "AutoEncoderNew",
        "bias": "AutoEncoder",
    }
    found = next((name for tensor, name in telling.items() if tensor in tensors), None)
    if found is None and "W_enc" in tensors:
        found = "JumpReluAutoEncoder"
    if found is None and "encoder.weight" not in tensors:
        raise ArtifactError(
            f"{tensors.path} holds {', '.join(sorted(tensors.shapes)[:12]) or 'nothing'}: no class of "
            "dictionary_learning has these tensors; convert them to a format of docs/formats.md, such as SAELens' "
            "cfg.json with sae_weights.safetensors"
        )
    if found is None:
        raise ArtifactError(
            f"{tensors.path}: config.json with its dict_class is missing, and top-k and batch top-k hold the same "
            "tensors; put config.json beside it"
        )
    return found, ("dict_class from the names of the tensors",)


def _check_size(trainer: Mapping[str, Any], weights: Weights, file: Path) -> None:
    d, f = weights.W_enc.shape
    stated = trainer.get("activation_dim", d), trainer.get("dict_size", f)
    if stated != (d, f):
        raise ArtifactError(
            f"{_config_file(file)} speaks of {stated[1]} features over {stated[0]}, {file} has {f} over {d}"
        )


def _origin(
    trainer: Mapping[str, Any], config: Mapping[str, Any], tensors: TensorFile
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The run's own names (often empty), and what was concluded from them."""
    buffer = _section(config, "buffer")
    found = {name: trainer.get(name) for name in ("lm_name", "layer", "submodule_name", "trainer_class", "lr")}
    found |= {"model_name": found.pop("lm_name"), "context_size": buffer.get("ctx_len"), "io": buffer.get("io")}
    origin = {name: value for name, value in found.items() if value not in (None, "")}
    if "group_sizes" in tensors:
        origin["group_sizes"] = [int(n) for n in tensors.read("group_sizes").tolist()]
    match = re.fullmatch(r"resid_post_layer_(\d+)", str(origin.get("submodule_name", "")))
    if match:
        return {**origin, "hook_name": lens_residual(int(match[1]))}, ("hook_name from submodule_name",)
    return origin, ()


def _linear(tensors: TensorFile, b_dec: str, threshold: Tensor | None = None) -> Weights:
    """Of two `nn.Linear`: both matrices are stored transposed."""
    f, d = tensors.shape("encoder.weight", axes=2)
    return Weights(
        W_enc=tensors.take_transposed("encoder.weight", d, f),
        b_enc=tensors.take("encoder.bias", f),
        W_dec=tensors.take_transposed("decoder.weight", f, d),
        b_dec=tensors.take(b_dec, d),
        threshold=threshold,
    )


def _plain(tensors: TensorFile, threshold: Tensor | None) -> Weights:
    """Of bare matrices, oriented as ours."""
    d, f = tensors.shape("W_enc", axes=2)
    return Weights(
        W_enc=tensors.take("W_enc", d, f),
        b_enc=tensors.take("b_enc", f),
        W_dec=tensors.take("W_dec", f, d),
        b_dec=tensors.take("b_dec", d),
        threshold=threshold,
    )


def _gated(tensors: TensorFile) -> Weights:
    f, d = tensors.shape("encoder.weight", axes=2)
    W_enc_DF = tensors.take_transposed("encoder.weight", d, f)
    encoder = gated(W_enc_DF, *(tensors.take(name, f) for name in ("r_mag", "gate_bias", "mag_bias")))
    W_dec_FD = tensors.take_transposed("decoder.weight", f, d)
    return Weights(**encoder, W_dec=W_dec_FD, b_dec=tensors.take("decoder_bias", d))


def _calibrated(tensors: TensorFile, n_features: int) -> Tensor:
    threshold = tensors.number("threshold")
    if threshold < 0:
        raise ArtifactError(
            f"{tensors.path}: threshold is {threshold:g}: it was never calibrated (saved before step 1,000), and "
            "every positive feature would fire; give a later checkpoint"
        )
    return filled(threshold, n_features)


def _k(tensors: TensorFile, trainer: Mapping[str, Any]) -> Rule:
    k = int(tensors.number("k")) if "k" in tensors else trainer.get("k")
    if type(k) is not int or k < 1 or trainer.get("k", k) != k:
        raise ArtifactError(f"{tensors.path}: k is {k!r}, config.json says {trainer.get('k')!r}")
    return Largest(k=k)


def _batch(tensors: TensorFile) -> Weights:
    return _linear(tensors, "b_dec", _calibrated(tensors, tensors.shape("encoder.weight", axes=2)[0]))


def _matryoshka(tensors: TensorFile) -> Weights:
    return _plain(tensors, _calibrated(tensors, tensors.shape("W_enc", axes=2)[1]))


def _jumprelu(tensors: TensorFile) -> Weights:
    return _plain(tensors, tensors.take("threshold", tensors.shape("W_enc", axes=2)[1]))


def _positive(tensors: TensorFile, trainer: Mapping[str, Any]) -> Rule:
    return Positive()


def _above(tensors: TensorFile, trainer: Mapping[str, Any]) -> Rule:
    return Above()


Arrange = Callable[[TensorFile], Weights]
CLASSES: dict[str, tuple[Arrange, Callable[[TensorFile, Mapping[str, Any]], Rule]]] = {
    "AutoEncoder": (lambda tensors: _linear(tensors, "bias"), _positive),
    "AutoEncoderNew": (lambda tensors: _linear(tensors, "decoder.bias"), _positive),
    "AutoEncoderTopK": (lambda tensors: _linear(tensors, "b_dec"), _k),
    "BatchTopKSAE": (_batch, _above),
    "MatryoshkaBatchTopKSAE": (_matryoshka, _above),
    "JumpReluAutoEncoder": (_jumprelu, _above),
    "GatedAutoEncoder": (_gated, _above),
}
