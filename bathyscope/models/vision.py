"""`ImageModel`: a vision transformer with its visual words, read at hookpoints as a language model is.

An image is its document, a patch its token: position 0 is the class token, position p the p-th patch, line by line.
Knows nothing of how the network was trained.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from bathyscope.errors import ConfigError, ModelError
from bathyscope.files import sha256
from bathyscope.models.model import Model, PreTrainedModel, Trial
from bathyscope.models.quiet import quiet
from bathyscope.models.visual_words import VisualWords

WEIGHTS = "model.safetensors"
WORDS = "visual_words.safetensors"
"""File of the visual words, beside weights and config.json."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False, weakref_slot=True)
class ImageModel:
    """An image classifier that is ready to be read: evaluation mode, weights that take no gradient."""

    network: PreTrainedModel
    """The Hugging Face network, a `ViTForImageClassification`; call it as usual."""
    words: VisualWords
    """Its vocabulary: what the patches at its tokens are called."""
    name: str
    """Its folder's name."""
    identity: Mapping[str, str]
    """What tells these weights and words from others: name, `sha256` of the weights, dtype, architecture, words."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Materials it was made from (name, version, sha256, licence, origin), for manifests."""

    @property
    def body(self) -> nn.Module:
        """The encoder without the classifier; hookpoint names are module paths relative to it."""
        return self.network.base_model

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.network.config.hidden_size)

    @property
    def n_layers(self) -> int:
        """Number of encoder blocks."""
        return int(self.network.config.num_hidden_layers)

    @property
    def image_size(self) -> int:
        """Pixels of an image's side."""
        return int(self.network.config.image_size)

    @property
    def n_patches(self) -> int:
        """Patches of an image."""
        return (self.image_size // self.words.patch_size) ** 2

    @property
    def device(self) -> torch.device:
        """Where the pixels must be."""
        return next(self.network.parameters()).device

    @property
    def reading(self) -> Mapping[str, Any]:
        """Keyword inputs of every forward that only reads: none."""
        return {}

    def trial(self) -> Trial:
        """Two blank images."""
        blank = torch.zeros(2, self.image_size, self.image_size, dtype=torch.uint8)
        return Trial(self.inputs(blank), 1 + self.n_patches)

    def inputs(self, images_NHW: UInt8[Tensor, "N H W"]) -> dict[str, Float[Tensor, "N 1 H W"]]:
        """Keyword inputs of the network for grey images. Raises ConfigError for another size than it was built for."""
        if images_NHW.shape[1:] != (self.image_size, self.image_size):
            given = " × ".join(map(str, images_NHW.shape[1:]))
            raise ConfigError(f"images have {given} pixels, {self.name} reads {self.image_size} × {self.image_size}")
        return {"pixel_values": pixel_values(images_NHW).to(self.device)}


Readable = Model | ImageModel
"""Whatever activations can be read from."""


def pixel_values(images_NHW: UInt8[Tensor, "N H W"]) -> Float[Tensor, "N 1 H W"]:
    """Grey images in [−1, 1] with one channel (mean and deviation of 0.5, as processors of ViT have it)."""
    return images_NHW[:, None].float() / 127.5 - 1


def load_image_model(folder: str | Path) -> ImageModel:
    """The image model in `folder` (config, safetensors weights and visual words, as `train_digits` writes them).

    Raises ModelError when the folder holds no whole classifier of grey images, ArtifactError for damaged words.
    """
    folder = Path(folder).expanduser()
    lacking = [name for name in ("config.json", WEIGHTS, WORDS) if not (folder / name).exists()]
    if lacking:
        raise ModelError(f"{folder} is not an image model: it lacks {', '.join(lacking)}; `train_digits` makes one")
    from transformers import ViTForImageClassification

    try:
        with quiet():
            loaded: Any = ViTForImageClassification.from_pretrained(
                folder, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # transformers raises a dozen kinds
        said = (str(error).splitlines() or [""])[0][:200]
        raise ModelError(f"{folder} cannot be opened as an image model: {type(error).__name__}: {said}") from error
    network, report = loaded
    words = VisualWords.load(folder / WORDS)
    _require_usable(folder, network, report, words)
    identity = {
        "name": folder.resolve().name,
        "sha256": sha256(folder / WEIGHTS),
        "description": "local folder",
        "dtype": str(network.dtype).removeprefix("torch."),
        "architecture": type(network).__name__,
        "words": words.sha256,
    }
    network.eval().requires_grad_(False)
    return ImageModel(network=network, words=words, name=identity["name"], identity=identity)


def _require_usable(folder: Path, network: PreTrainedModel, report: Mapping[str, Any], words: VisualWords) -> None:
    missing, config = sorted(str(key) for key in report["missing_keys"]), network.config
    if missing:
        raise ModelError(f"{folder} is not a whole image model: missing keys {missing[:3]}")
    if config.num_channels != 1 or config.patch_size != words.patch_size:
        raise ModelError(
            f"{folder} reads {config.num_channels} channels in patches of {config.patch_size} pixels, expected grey "
            f"images in patches of {words.patch_size}, as its visual words are"
        )
