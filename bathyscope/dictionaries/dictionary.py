"""The finished dictionary: neutral weights and a rule, whatever kind it was trained as, and its folder on disk.

`pre = x @ W_enc + b_enc` (or `(x - b_dec) @ W_enc + b_enc`), `c = rule(pre)`, `x̂ = c @ W_dec + b_dec`. Decoder rows
have length 1 and no activation scale is left: x and x̂ are the model's own activations. A transcoder's x̂ belongs to
another place than x (`output_hookpoint`); a crosscoder's x holds several places side by side (`blocks`). Knows nothing
of training.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors
import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.config import canonical, from_json, to_json
from bathyscope.dictionaries.blocks import Block
from bathyscope.dictionaries.codes import Codes
from bathyscope.dictionaries.kernels.decode import decode_pairs
from bathyscope.dictionaries.normalise import Normalisation, normalised, restored
from bathyscope.dictionaries.place import find, refuse
from bathyscope.dictionaries.rules import Above, Linear, Pursuit, Rule
from bathyscope.dictionaries.weights import TENSORS, Weights
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import read_json, write_atomic

__all__ = ["Codes", "Dictionary", "load_dictionary", "write_dictionary"]

CONFIG, WEIGHTS = "config.json", "weights.safetensors"
SavedFormat = Literal["bathyscope", "saelens", "sparsify", "dictionary_learning"]
"""What a dictionary can be saved as."""
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
    min_activation: Float[Tensor, " F"] | None = None
    """The same at the other end: the most negative code, 0 where none was; None when no code was negative."""
    kind: Mapping[str, Any] | None = None
    """The kind's settings as given, as JSON data."""
    training: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Figures of the training run (rows, variance explained, L0, dead share, …), without times."""
    normalise: Normalisation | None = None
    """What is done to each token before encoding and undone after decoding; codes are of the normalised token."""
    source: Mapping[str, Any] | None = None
    """For a dictionary of another tool: its format, files with sha256, its own names, and what was inferred."""
    output_hookpoint: str | None = None
    """Where the reconstruction belongs, for a transcoder (`output` if it has no name); None: where the input does."""
    blocks: tuple[Block, ...] = ()
    """Places that lie side by side in x and x̂, for a crosscoder; empty for a dictionary of one place."""

    def __post_init__(self) -> None:
        if self.subtract_b_dec and self.d_out != self.d_model:
            raise ArtifactError(f"b_dec has width {self.d_out} and cannot be taken off x of width {self.d_model}")
        if self.blocks and sum(block.width for block in self.blocks) != self.d_model:
            raise ArtifactError(f"the blocks {self.blocks} do not make up the width {self.d_model}")
        if isinstance(self.rule, Above) and self.threshold is None:
            raise ArtifactError("this dictionary keeps what is above a threshold, but holds no tensor `threshold`")
        for name, observed in _observed(self).items():
            if tuple(observed.shape) != (self.n_features,):
                raise ArtifactError(f"{name} has shape {tuple(observed.shape)}, expected [{self.n_features}]")

    @property
    def d_model(self) -> int:
        """D, width of the activations."""
        return self.weights.W_enc.shape[0]

    @property
    def d_out(self) -> int:
        """O, width of the reconstructions; D unless the dictionary is a transcoder."""
        return self.weights.W_dec.shape[1]

    @property
    def is_of_one_place(self) -> bool:
        """True when what is read and what is reconstructed are the activations of one hookpoint of one model."""
        return self.output_hookpoint is None and not self.blocks

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
    def W_dec(self) -> Float[Tensor, "F O"]:
        """Decoder; row f is feature f's unit direction."""
        return self.weights.W_dec

    @property
    def b_dec(self) -> Float[Tensor, " O"]:
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
        rules |= {} if self.normalise is None else {"normalise": self.normalise}
        total = hashlib.sha256(canonical(rules))
        for name, tensor in self.weights.tensors().items():
            total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            total.update(tensor.detach().cpu().contiguous().view(torch.uint8).numpy().data)  # no copy
        return total.hexdigest()

    def pre(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N F"]:
        """Pre-activations, before the rule keeps some. N·F·4 bytes: give slices of a long x."""
        return self._pre(self._checked(x_ND))

    def encode(self, x_ND: Float[Tensor, "N D"]) -> Codes:
        """Codes of each token, computed a slice of tokens at a time."""
        x_ND = self._checked(x_ND)
        if isinstance(self.rule, Pursuit):
            return self.rule.encode(self._centred(x_ND), self.weights)
        n_rows = max(1, CHUNK_BYTES // (4 * self.n_features))
        slices = [x_ND[i : i + n_rows] for i in range(0, max(len(x_ND), 1), n_rows)]
        return Codes.concatenate([self.keep(self._pre(x)) for x in slices], self.n_features)

    def pre_and_codes(self, x_ND: Float[Tensor, "N D"]) -> tuple[Float[Tensor, "N F"], Codes]:
        """Pre-activations and codes of the same tokens. Holds [N, F]: give slices of a long x."""
        x_ND = self._checked(x_ND)
        pre_NF = self._pre(x_ND)
        if isinstance(self.rule, Pursuit):
            return pre_NF, self.rule.encode(self._centred(x_ND), self.weights)
        return pre_NF, self.keep(pre_NF)

    def keep(self, pre_NF: Float[Tensor, "N F"]) -> Codes:
        """Codes from pre-activations: what the rule keeps, times each feature's gain where the weights have one."""
        if isinstance(self.rule, Pursuit):
            raise ConfigError("codes of a pursuit cannot be told from pre-activations: use encode")
        codes = self.rule.keep(pre_NF, self.threshold)
        gain_F = self.weights.gain
        if gain_F is None:
            return codes
        return dataclasses.replace(codes, values_NK=codes.values_NK * gain_F[codes.indices_NK])

    def decode(self, codes: Codes, x_ND: Float[Tensor, "N D"] | None = None) -> Float[Tensor, "N O"]:
        """Reconstructions from codes. `x_ND`, the encoded activations, is needed where tokens are normalised.

        With `W_skip` its part is added when `x_ND` is given; without, what the features alone make is returned.
        """
        if codes.n_features != self.n_features:
            raise ConfigError(f"codes of {codes.n_features} features cannot be decoded by {self.n_features} features")
        guess_ND = decode_pairs(codes.values_NK, codes.indices_NK, self.W_dec, self.b_dec)
        if self.weights.W_skip is not None and x_ND is not None:
            read_ND = self._checked(x_ND)
            read_ND = read_ND if self.normalise is None else normalised(read_ND, self.normalise)
            guess_ND = guess_ND + read_ND @ self.weights.W_skip
        if self.normalise is None:
            return guess_ND
        if x_ND is None:
            raise ConfigError(
                f"this dictionary normalises each token ({self.normalise}): give decode the activations x too"
            )
        return restored(guess_ND, self._checked(x_ND), self.normalise)

    def reconstruct(self, x_ND: Float[Tensor, "N D"]) -> Float[Tensor, "N O"]:
        """`decode(encode(x), x)`."""
        return self.decode(self.encode(x_ND), x_ND)

    def block(self, which: int | str) -> slice:
        """The columns of one block of a crosscoder, by number or name. Raises ConfigError when there is none."""
        names = [block.name for block in self.blocks]
        number = names.index(which) if isinstance(which, str) and which in names else which
        if isinstance(number, str) or not 0 <= number < len(names):
            raise ConfigError(f"there is no block {which!r}; expected one of: {', '.join(names) or 'none'}")
        start = sum(block.width for block in self.blocks[:number])
        return slice(start, start + self.blocks[number].width)

    def block_rows(self, which: int | str) -> Float[Tensor, "F M"]:
        """The part of each decoder row that lies in one block; its length is the feature's strength there."""
        return self.W_dec[:, self.block(which)]

    def require_one_place(self, purpose: str) -> None:
        """Raise ConfigError naming what the dictionary is when it reads or writes more than one place."""
        if self.output_hookpoint is not None:
            what = f"a transcoder (from {self.hookpoint or 'its input'} to {self.output_hookpoint})"
            raise ConfigError(f"{purpose} needs a dictionary of one hookpoint; this is {what}")
        if self.blocks:
            what = f"a crosscoder of {', '.join(block.name for block in self.blocks)}"
            raise ConfigError(f"{purpose} needs a dictionary of one hookpoint; this is {what}")

    def require_selection(self, purpose: str) -> None:
        """Raise ConfigError for a dictionary of shifts, in which every feature is active on every input."""
        if isinstance(self.rule, Linear):
            raise ConfigError(
                f"{purpose} needs a dictionary that keeps few features of a token; this one was learnt from shifts of "
                "pairs and gives every feature a signed code (docs/shifts.md)"
            )

    def direction(self, feature: int) -> Float[Tensor, " O"]:
        """The unit vector that one unit of `feature`'s code adds to the reconstruction."""
        if not 0 <= feature < self.n_features:
            raise ConfigError(f"feature {feature} does not exist: give a number from 0 to {self.n_features - 1}")
        return self.W_dec[feature]

    def to(self, device: str) -> "Dictionary":
        """The same dictionary on `device`."""
        observed = {name: tensor.to(device) for name, tensor in _observed(self).items()}
        return dataclasses.replace(self, weights=self.weights.to(device), **observed)

    def save(self, path: str | Path, format: SavedFormat = "bathyscope") -> None:  # noqa: A002
        """Write a folder of kind `dictionary`; nothing happens when it already holds this very dictionary.

        With another `format`, the folder is one of that tool (docs/formats.md); ConfigError when the tool cannot
        express this dictionary. Raises ArtifactError when `path` holds anything else.
        """
        if format != "bathyscope":
            from bathyscope.dictionaries.formats.write import write_foreign  # its writers take a Dictionary

            write_foreign(self, Path(path), format)
            return
        recipe = Recipe(kind="dictionary", config={"digest": self.digest, "saved": _saved(self)})
        if not artifacts.is_finished(Path(path), recipe):
            with artifacts.draft(Path(path), recipe) as work:
                write_dictionary(self, work.path)

    def _pre(self, x_ND: Tensor) -> Tensor:
        return torch.addmm(self.b_enc, self._centred(x_ND), self.W_enc)

    def _centred(self, x_ND: Tensor) -> Tensor:
        x_ND = x_ND if self.normalise is None else normalised(x_ND, self.normalise)
        return x_ND - self.b_dec if self.subtract_b_dec else x_ND

    def _checked(self, x_ND: Tensor) -> Tensor:
        if x_ND.ndim != 2 or x_ND.shape[1] != self.d_model:
            raise ConfigError(f"activations have shape {tuple(x_ND.shape)}, this dictionary takes [N, {self.d_model}]")
        return x_ND.to(self.W_enc.dtype)


def load_dictionary(place: str | Path, *, device: str = "cpu") -> Dictionary:
    """The dictionary in a folder, or on the Hub as `organisation/name[@revision][/folder]`.

    Of our own folders every file is compared with the manifest. Folders and files of other tools are recognised by
    their names and folded (docs/formats.md). Raises ArtifactError for another kind of folder, a damaged file, a pickle
    that holds more than tensors, or a run folder, each with what to do.
    """
    found = find(place)
    path = found.path
    if not (path / artifacts.MANIFEST).exists():
        from bathyscope.dictionaries.formats.detect import read_foreign  # its readers make a Dictionary

        foreign = read_foreign(found)
        if foreign is not None:
            return foreign.to(device)
        refuse(found)
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
            min_activation=tensors.get("min_activation"),
            kind=saved.trained_as,
            training=saved.training,
            normalise=saved.normalise,
            source=saved.source,
            output_hookpoint=saved.output_hookpoint,
            blocks=saved.blocks,
        )
    except (KeyError, TypeError, ConfigError, safetensors.SafetensorError) as error:
        raise ArtifactError(f"{path} is not a dictionary of this version: {error}") from error


def write_dictionary(dictionary: Dictionary, folder: Path) -> None:
    """Write `config.json` and `weights.safetensors` into `folder`, an open draft."""
    tensors = {**dictionary.weights.tensors(), **_observed(dictionary)}
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, folder / WEIGHTS)
    write_atomic(folder / CONFIG, json.dumps(to_json(_saved(dictionary)), indent=1, sort_keys=True).encode())


def _observed(dictionary: Dictionary) -> dict[str, Tensor]:
    """What was seen of the codes, by the name in the file."""
    found = {"max_activation": dictionary.max_activation, "min_activation": dictionary.min_activation}
    return {name: tensor for name, tensor in found.items() if tensor is not None}


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
    normalise: Normalisation | None = None
    source: Mapping[str, Any] | None = None
    output_hookpoint: str | None = None
    blocks: tuple[Block, ...] = ()


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
        normalise=dictionary.normalise,
        source=dictionary.source,
        output_hookpoint=dictionary.output_hookpoint,
        blocks=dictionary.blocks,
    )
