"""A small vision transformer that reads digits: trained here from nothing, exact enough to be worth looking into.

The network is an ordinary Hugging Face one; its folder, with the visual words beside the weights, can be given to
`load_image_model`. Knows nothing of where in the network anything is computed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor, nn

from bathyscope import artifacts
from bathyscope.activations.images import Images
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.evaluation.worlds.training import Schedule, slice_of_pass, train_network
from bathyscope.evaluation.worlds.world import own_seed
from bathyscope.models.quiet import quiet
from bathyscope.models.vision import WORDS, ImageModel, load_image_model, pixel_values
from bathyscope.models.visual_words import fit_words

CHUNK_IMAGES = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class DigitsSettings:
    """Settings of `train_digits`."""

    patch_size: int = 4
    """Pixels of a patch's side; a divisor of the images' side."""
    n_layers: int = 4
    """Blocks of the network."""
    d_model: int = 64
    """Width of the residual stream."""
    n_heads: int = 4
    """Attention heads of each block."""
    d_hidden: int = 128
    """Hidden units of each MLP."""
    n_words: int = 256
    """Visual words: what the patches at its tokens are called. Changes nothing in the network."""
    held_out: float = 0.2
    """Share of the images that neither training nor the choice of words sees."""
    max_shift: int = 2
    """Pixels by which an image is moved at most, each time it is shown."""
    n_steps: int = 1600
    """Steps of AdamW."""
    batch_size: int = 64
    """Images per step; every training image once before any of them again."""
    lr: float = 2e-3
    """Highest learning rate: rises over the first 50 steps, then falls to 0 along a cosine."""
    weight_decay: float = 0.05
    """Decay of matrices; biases and gains have none."""
    seed: int = 0
    """Seed of the start weights, of the held-out images, of the words, of order and shifts."""
    checkpoint_every: int = 100
    """Steps between checkpoints and lines of metrics.jsonl."""

    def __post_init__(self) -> None:
        if min(self.n_layers, self.d_model, self.n_heads, self.d_hidden) < 1 or self.d_model % self.n_heads:
            raise ConfigError("sizes are at least 1, and d_model is a multiple of n_heads")
        if min(self.batch_size, self.n_words) < 1 or self.max_shift < 0:
            raise ConfigError("batch_size and n_words are at least 1, max_shift is at least 0")
        if not 0 < self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}, expected a share within (0, 1)")
        _ = self.schedule  # which refuses steps and rates that are none

    @property
    def schedule(self) -> Schedule:
        """Its steps."""
        return Schedule(
            n_steps=self.n_steps, lr=self.lr, weight_decay=self.weight_decay, checkpoint_every=self.checkpoint_every
        )


def train_digits(images: Images, settings: DigitsSettings, *, out: Path) -> ImageModel:
    """The network in folder `out` (kind `model`), trained there first if it is not; resumes at a checkpoint.

    The images held out are those that `collect_images` with the same share and seed holds out. Raises ConfigError for
    images that are not square or that the patches do not fill.
    """
    about = {"name": images.name, "sha256": images.sha256}
    recipe = Recipe(
        kind="model",
        config={"images": about, "settings": settings},
        seed=settings.seed,
        materials=images.materials,
    )
    if not artifacts.is_finished(out, recipe):
        lessons = _Lessons(images, settings)
        with artifacts.draft(out, recipe) as work:
            train_network(
                lessons.network,
                settings.schedule,
                loss=lessons.loss,
                figures=lessons.figures,
                stage="digits",
                work=work,
            )
            lessons.words.save(work.path / WORDS)
            with quiet():
                lessons.network.eval().save_pretrained(work.path)
    return load_image_model(out)


@torch.no_grad()
def is_right(network: nn.Module, images_NHW: UInt8[Tensor, "N H W"], labels_N: Int[Tensor, " N"]) -> Bool[Tensor, " N"]:
    """For each image whether the network's likeliest class is its own."""
    device = next(network.parameters()).device
    parts = images_NHW.split(CHUNK_IMAGES)
    found = [network(pixel_values=pixel_values(part).to(device)).logits.argmax(1).cpu() for part in parts]
    return torch.cat(found) == labels_N


def new_network(images: Images, settings: DigitsSettings) -> Any:
    """An untrained vision transformer of these sizes for these images, its weights drawn from the seed."""
    from transformers import ViTConfig, ViTForImageClassification

    config = ViTConfig(
        image_size=images.pixels_NHW.shape[1],
        patch_size=settings.patch_size,
        num_channels=1,
        id2label={number: str(number) for number in range(int(images.labels_N.max()) + 1)},
        hidden_size=settings.d_model,
        num_hidden_layers=settings.n_layers,
        num_attention_heads=settings.n_heads,
        intermediate_size=settings.d_hidden,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(own_seed("digits weights", settings.seed))
        return ViTForImageClassification(config)


class _Lessons:
    """A network, the images that it is taught with, and those that it is asked."""

    def __init__(self, images: Images, settings: DigitsSettings) -> None:
        height, width = images.pixels_NHW.shape[1:]
        if height != width:
            raise ConfigError(f"{images.name}: images of {height} × {width} pixels, expected square ones")
        is_held_out_N = images.is_held_out(share=settings.held_out, seed=settings.seed)
        if not bool(is_held_out_N.any()) or bool(is_held_out_N.all()):
            raise ConfigError(f"a share of {settings.held_out} of {images.n_images} images leaves one side empty")
        self._settings = settings
        self._pixels_MHW, self._labels_M = images.pixels_NHW[~is_held_out_N], images.labels_N[~is_held_out_N]
        self._asked = images.pixels_NHW[is_held_out_N], images.labels_N[is_held_out_N]
        self.words = fit_words(
            self._pixels_MHW, patch_size=settings.patch_size, n_words=settings.n_words, seed=settings.seed
        )
        self.network: Any = new_network(images, settings).train()

    def loss(self, step: int) -> Tensor:
        """Cross-entropy of the classes in the batch of this step."""
        chosen_B = slice_of_pass(step, n=len(self._labels_M), size=self._settings.batch_size, order=self._order)
        moved_BHW = shifted(
            self._pixels_MHW[chosen_B], reach=self._settings.max_shift, generator=self._generator("shift", step)
        )
        logits_BC = self.network(pixel_values=pixel_values(moved_BHW)).logits
        return nn.functional.cross_entropy(logits_BC, self._labels_M[chosen_B])

    def figures(self) -> dict[str, float]:
        """Share of the held-out images whose class the network says."""
        return {"held_out_accuracy": float(is_right(self.network, *self._asked).double().mean())}

    def _order(self, number: int) -> Int[Tensor, " M"]:
        return torch.randperm(len(self._labels_M), generator=self._generator("pass", number))

    def _generator(self, purpose: str, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(own_seed(f"digits {purpose} {number}", self._settings.seed))


def shifted(images_BHW: UInt8[Tensor, "B H W"], *, reach: int, generator: torch.Generator) -> UInt8[Tensor, "B H W"]:
    """Each image moved by whole pixels, at most `reach` either way; what comes in is black."""
    n, height, width = images_BHW.shape
    wide_BYX = nn.functional.pad(images_BHW, (reach, reach, reach, reach))
    top_B, left_B = torch.randint(0, 2 * reach + 1, (2, n), generator=generator)
    y_BH, x_BW = top_B[:, None] + torch.arange(height), left_B[:, None] + torch.arange(width)
    return wide_BYX[torch.arange(n)[:, None, None], y_BH[:, :, None], x_BW[:, None, :]]
