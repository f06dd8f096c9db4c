"""`ModelShape`: the sizes of a transformer, which are all that a plan needs of it; by name, or from a config.json.

Products are counted, two FLOPs a weight and token; norms, rotations and the like go by the bytes they pass over.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from bathyscope.errors import ConfigError, ModelError
from bathyscope.files import read_json

CONFIG = "config.json"
PLAIN_MLP = frozenset(
    {"bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "opt", "phi", "starcoder2"}
)
"""`model_type`s whose MLP has two matrices; others have a gate as well."""
WIDTH_PASSES, MLP_PASSES = 40, 5
"""Numbers of [N, D] and [N, MLP] tensors that a layer's norms, rotations, sums and activations read or write."""

_KEYS: Mapping[str, tuple[str, ...]] = {
    "d_model": ("hidden_size", "n_embd"),
    "n_layers": ("num_hidden_layers", "n_layer"),
    "n_heads": ("num_attention_heads", "n_head"),
    "n_key_heads": ("num_key_value_heads",),
    "d_head": ("head_dim",),
    "d_mlp": ("intermediate_size", "n_inner", "ffn_dim"),
    "n_vocabulary": ("vocab_size",),
}
"""Our size → what configs of transformers call it."""
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelShape:
    """Sizes of a decoder-only transformer."""

    name: str
    """What it is called."""
    d_model: int
    """Width of the residual stream."""
    n_layers: int
    """Decoder blocks."""
    n_heads: int
    """Attention heads."""
    n_key_heads: int
    """Heads of keys and values; fewer than `n_heads` where these share them."""
    d_head: int
    """Width of a head."""
    d_mlp: int
    """Width inside the MLP."""
    n_vocabulary: int
    """Rows of the embedding."""
    mlp_matrices: int = 3
    """Matrices of the MLP: 3 with a gate, 2 without."""
    is_tied: bool = False
    """Whether the unembedding is the embedding."""

    def __post_init__(self) -> None:
        for name in ("d_model", "n_layers", "n_heads", "n_key_heads", "d_head", "d_mlp", "n_vocabulary"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{self.name}: {name} is {getattr(self, name)}, expected at least 1")

    @property
    def layer_parameters(self) -> int:
        """Weights of one block's matrices."""
        queries, keys = self.n_heads * self.d_head, self.n_key_heads * self.d_head
        return self.d_model * (2 * queries + 2 * keys + self.mlp_matrices * self.d_mlp)

    @property
    def n_parameters(self) -> int:
        """Weights of all matrices, embeddings included."""
        embeddings = (1 if self.is_tied else 2) * self.n_vocabulary * self.d_model
        return self.n_layers * self.layer_parameters + embeddings

    def token_flops(self, n_layers: int, context: int) -> int:
        """FLOPs of one token through the first blocks, with attention over `context` tokens, masked ones included."""
        attention = 4 * context * self.n_heads * self.d_head
        return n_layers * (2 * self.layer_parameters + attention)

    @property
    def layer_passes(self) -> int:
        """Numbers that one block reads or writes besides its products, for one token."""
        return WIDTH_PASSES * self.d_model + MLP_PASSES * self.d_mlp

    def depth(self, hookpoint: str) -> int:
        """Blocks that run until the last place that `hookpoint` names: 16 for `layers.15`, all for a glob or `norm`.

        Raises ModelError for a block that the model does not have.
        """
        number = re.search(r"\.(\d+)(?:\.|$)", hookpoint)
        if number is None:
            return self.n_layers
        if int(number[1]) >= self.n_layers:
            raise ModelError(
                f"{self.name} has {self.n_layers} blocks, layers.0 to layers.{self.n_layers - 1}: "
                f"there is no {hookpoint}"
            )
        return int(number[1]) + 1

    def n_places(self, hookpoint: str) -> int:
        """Hookpoints that the name stands for: one, or one in each block for a glob over blocks."""
        return self.n_layers if "*" in hookpoint else 1


def shape_of(model: str) -> ModelShape:
    """The shape of a model by its name, its folder or its config.json; nothing is fetched.

    A name is one of `architectures.toml`, or a Hub id whose config is in the Hugging Face cache. Raises ModelError when
    it is neither, ConfigError for a config that says too little.
    """
    table = _table()
    if model in table:
        return ModelShape(name=model, **table[model])
    path = Path(model).expanduser()
    file = path / CONFIG if path.is_dir() else path
    if file.suffix == ".json" and file.is_file():
        return read_shape(read_json(file), name=path.name)
    cached = _cached(model)
    if cached is not None:
        return read_shape(read_json(cached), name=model)
    near = get_close_matches(model, table, n=3)
    hint = f"; nearest known: {', '.join(near)}" if near else ""
    raise ModelError(
        f"the sizes of {model!r} are not known{hint}; give the path of its {CONFIG}, or one of: {', '.join(table)}"
    )


def read_shape(config: Mapping[str, Any], *, name: str) -> ModelShape:
    """The shape that a config.json of transformers describes. Raises ConfigError naming what it lacks."""
    text: Mapping[str, Any] = config.get("text_config") or config
    experts = next((key for key in _EXPERTS if int(text.get(key) or 0) > 1), None)
    if experts is not None:
        raise ConfigError(f"{name} is a mixture of experts ({experts}): plans know dense models only")
    found = {ours: next((int(text[key]) for key in keys if text.get(key)), None) for ours, keys in _KEYS.items()}
    lacking = [name_ for name_ in ("d_model", "n_layers", "n_heads", "n_vocabulary") if found[name_] is None]
    if lacking:
        keys = ", ".join(_KEYS[name_][0] for name_ in lacking)
        raise ConfigError(f"{name}: its config lacks {keys}; expected the {CONFIG} of a decoder-only language model")
    sizes = {ours: number for ours, number in found.items() if number is not None}
    sizes.setdefault("n_key_heads", sizes["n_heads"])
    sizes.setdefault("d_head", sizes["d_model"] // sizes["n_heads"])
    sizes.setdefault("d_mlp", 4 * sizes["d_model"])
    is_plain = text.get("model_type") in PLAIN_MLP
    is_tied = bool(text.get("tie_word_embeddings", config.get("tie_word_embeddings", False)))
    return ModelShape(name=name, **sizes, mlp_matrices=2 if is_plain else 3, is_tied=is_tied)


def _table() -> Mapping[str, Mapping[str, Any]]:
    """Name → sizes, of public architectures."""
    text = resources.files("bathyscope.planning").joinpath("architectures.toml").read_text("utf-8")
    return tomllib.loads(text)


def _cached(model: str) -> Path | None:
    """The config of a Hub id that some other work has fetched before."""
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model):
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(model, CONFIG)
    return Path(found) if isinstance(found, str) else None
