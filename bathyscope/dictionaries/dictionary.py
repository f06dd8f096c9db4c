"""The finished dictionary: neutral weights and a rule, whatever kind it was trained as, and its folder on disk.

`pre = x @ W_enc + b_enc` (or `(x - b_dec) @ W_enc + b_enc`), `c = rule(pre)`, `x̂ = c @ W_dec + b_dec`. Decoder rows
have length 1 and no activation scale is left: x and x̂ are the model's own activations. Knows nothing of training.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.config import canonical, from_json, to_json
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.place import dictionary_folder
from bathyscope.dictionaries.rules import Rule
from bathyscope.dictionaries.weights import TENSORS, Weights
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import read_json, write_atomic

__all__ = ["Codes", "Dictionary", "load_dictionary", "write_dictionary"]

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
CHUNK_BYTES = 16 << 20
"""Size of the [rows, F] pre-activations held at once while encoding."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dictionary:
    """Sparse dictionary of F features over activations of width D, for inference.

    Encoding is differentiable in x, so that attribution works through it; the weights carry no gradient.
    """

    weights: Weights
    """Folded tensors."""
    rule: Rule
    """Which features are kept."""
    subtract_b_dec: bool
    """Whether `b_dec` is taken off x before encoding."""
    hookpoint: str | None = None
    """Module name whose output was learnt, such as `layers.15`."""
    model_identity: Mapping[str, str] | None = None
    """Name, weights' sha256 or revision, … of the model, as in the activations' folder."""
    max_activation: Float[Tensor, " F"] | None = None
    """Largest code of each feature observed on training data; 0 for a feature that never fired."""
    kind: Mapping[str, Any] | None = None
    """The kind's settings as given, as JSON data."""
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Figures of the training run (rows, variance explained, L0, dead share, …), without times."""

    def __post_init__(self) -> None:
        if self.max_activation is not None and tuple(self.max_activation.shape) != (self.n_features,):
            raise ArtifactError(
                f"max_activation has shape {tuple(self.max_activation.shape)}, expected [{self.n_features}]"
            )

    @property
    def d_model(self) -> int:
        """D, width of the activations."""
        return self.weights.W_enc.shape[0]

    @property
    def n_features(self) -> int:
        """F, number of features."""
        return self.weights.W_enc.shape[1]

    @property
    def W_enc(self) -> Float[Tensor, "D F"]:
        """Encoder; column f reads feature f."""
        return self.weights.W_enc

    @property
    def b_enc(self) -> Float[Tensor, " F"]:
        """Encoder bias."""
        return self.weights.b_enc

    @property
    def W_dec(self) -> Float[Tensor, "F D"]:
        """Decoder; row f is feature f's unit direction."""
        return self.weights.W_dec

    @property
    def b_dec(self) -> Float[Tensor, " D"]:
        """Decoder bias."""
        return self.weights.b_dec

    @property
    def threshold(self) -> Float[Tensor, " F"] | None:
        """Threshold of each feature, for rules that use one."""
        return self.weights.threshold

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.W_enc.device

    @property
    def digest(self) -> str:
        """sha256 over what decides codes and reconstructions: tensors, rule, subtraction."""
        rules = {"rule": self.rule, "subtract_b_dec": self.subtract_b_dec}
        total = hashlib.sha256(canonical(rules))
        for name, tensor in self.weights.tensors().items():
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
        return total.hexdigest()

    def pre(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N F"]:
        """Pre-activations, before the rule keeps some. N·F·4 bytes: give slices of a long x."""
        return self._pre(self._checked(x_ND))

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of each token, computed a slice of tokens at a time."""
        x_ND = self._checked(x_ND)
        n_rows = max(1, CHUNK_BYTES // (4 * self.n_features))
        slices = [x_ND[i : i + n_rows] for i in range(0, max(len(x_ND), 1), n_rows)]
        return Codes.concatenate([self.rule.keep(self._pre(x), self.threshold) for x in slices], self.n_features)

    def decode(self, codes: Codes) -> Float[Tensor, "N D"]:
        """Reconstructions from codes."""
        if codes.n_features != self.n_features:
            raise ConfigError(f"codes of {codes.n_features} features cannot be decoded by {self.n_features} features")
        return decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec, self.b_dec)

    def reconstruct(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
        """`decode(encode(x))`."""
        return self.decode(self.encode(x_ND))

    def direction(self, feature: int) -> Float[Tensor, " D"]:
        """The unit vector that one unit of `feature`'s code adds to the reconstruction."""
        if not 0 <= feature < self.n_features:
            raise ConfigError(f"feature {feature} does not exist: give a number from 0 to {self.n_features - 1}")
        return self.W_dec[feature]

    def to(self, device: str) -> "Dictionary":
        """The same dictionary on `device`."""
        observed = None if self.max_activation is None else self.max_activation.to(device)
        return dataclasses.replace(self, weights=self.weights.to(device), max_activation=observed)

    def save(self, path: str | Path) -> None:
        """Write a folder of kind `dictionary`; nothing happens when it already holds this very dictionary.

        Raises ArtifactError when it holds anything else.
        """
        recipe = Recipe(kind="dictionary", config={"digest": self.digest, "saved": _saved(self)})
        if not artifacts.is_finished(Path(path), recipe):
            with artifacts.draft(Path(path), recipe) as work:
                write_dictionary(self, work.path)

    def _pre(self, x_ND: Tensor) -> Tensor:
        centred_ND = x_ND - self.b_dec if self.subtract_b_dec else x_ND
        return torch.addmm(self.b_enc, centred_ND, self.W_enc)

    def _checked(self, x_ND: Tensor) -> Tensor:
        if x_ND.ndim != 2 or x_ND.shape[1] != self.d_model:
            raise ConfigError(f"activations have shape {tuple(x_ND.shape)}, this dictionary takes [N, {self.d_model}]")
        return x_ND.to(self.W_enc.dtype)


def load_dictionary(place: str | Path, *, device: str = "cpu") -> Dictionary:
    """The dictionary in a folder, or on the Hub as `organisation/name[@revision][/folder]`.

    Every file is compared with the manifest. Raises ArtifactError for another kind of folder, a damaged file, a
    pickle or a run folder, each with what to do.
    """
    path = dictionary_folder(place)
    manifest = artifacts.read_manifest(path, kind="dictionary")
    try:
        saved = from_json(_Saved, read_json(artifacts.check_file(path, manifest, CONFIG)), where=CONFIG)
        tensors = load_file(artifacts.check_file(path, manifest, WEIGHTS), device=device)
        return Dictionary(
            weights=Weights(**{name: tensors[name] for name in TENSORS if name in tensors}),
            rule=saved.rule,
            subtract_b_dec=saved.subtract_b_dec,
            hookpoint=saved.hookpoint,
            model_identity=saved.model,
            max_activation=tensors.get("max_activation"),
            kind=saved.trained_as,
            training=saved.training,
        )
    except (KeyError, TypeError, ConfigError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{path} is not a dictionary of this version: {error}") from error


def write_dictionary(dictionary: Dictionary, folder: Path) -> None:
    """Write `config.json` and `weights.safetensors` into `folder`, an open draft."""
    tensors = dictionary.weights.tensors()
    if dictionary.max_activation is not None:
        tensors["max_activation"] = dictionary.max_activation
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    write_atomic(folder / CONFIG, json.dumps(to_json(_saved(dictionary)), indent=1, sort_keys=True).encode())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Saved:
    """`config.json`."""

    trained_as: Mapping[str, Any] | None
    rule: Rule
    subtract_b_dec: bool
    d_model: int
    n_features: int
    hookpoint: str | None
    model: Mapping[str, str] | None
    training: Mapping[str, Any]


def _saved(dictionary: Dictionary) -> _Saved:
    return _Saved(
        trained_as=dictionary.kind,
        rule=dictionary.rule,
        subtract_b_dec=dictionary.subtract_b_dec,
        d_model=dictionary.d_model,
        n_features=dictionary.n_features,
        hookpoint=dictionary.hookpoint,
        model=dictionary.model_identity,
        training=dictionary.training,
    )
