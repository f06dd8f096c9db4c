"""`collect_images`: run an image model over images and keep the activations of their patches on disk.

The store is one like any other: a document is an image, a token is a patch (its id a visual word, its position the
number of the patch). The class token stands at position 0 of every document and, like BOS, gets no row.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import artifacts, runtime
from bathyscope.activations.fill import Plan, fill
from bathyscope.activations.images import Images
from bathyscope.activations.shards import TORCH_DTYPES, Dtype
from bathyscope.activations.store import KIND, SCHEMA, ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.errors import ConfigError
from bathyscope.models.hookpoints import resolve, width
from bathyscope.models.hooks import run
from bathyscope.models.vision import ImageModel


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageCollectSettings:
    """What of the images is stored."""

    dtype: Dtype = "float16"
    """Type of the stored rows; activations beyond 65,504 need bfloat16."""
    held_out: float = 0.2
    """Share of the images that training never sees."""
    seed: int = 0
    """Seed of the held-out split."""
    batch_images: int = 64
    """Images of one forward pass."""
    shard_rows: int = 65_536
    """Most rows in one shard."""

    def __post_init__(self) -> None:
        if not 0 <= self.held_out < 1:
            raise ConfigError(f"held_out is {self.held_out}, expected a share of at least 0 and below 1")
        if self.seed < 0 or min(self.batch_images, self.shard_rows) < 1:
            raise ConfigError("seed is at least 0, batch_images and shard_rows are at least 1")


def collect_images(
    model: ImageModel,
    images: Images,
    *,
    out: str | Path,
    hookpoint: str | Sequence[str],
    settings: ImageCollectSettings = ImageCollectSettings(),
) -> ActivationStore:
    """The activations of every patch of `images` at the hookpoints, in the folder `out` (kind `activations`).

    A finished folder of the same recipe is opened at once; an interrupted one is gone on with, to the same bytes.
    Raises ConfigError for images of another size than the model reads, ModelError for an unknown hookpoint.
    """
    out = Path(out)
    model.inputs(images.pixels_NHW[:1])  # refuses another size before anything is written
    patterns = [hookpoint] if isinstance(hookpoint, str) else list(hookpoint)
    names = list(dict.fromkeys(name for pattern in patterns for name in resolve(model, pattern)))
    about = {"name": images.name, "n_images": images.n_images, "sha256": images.sha256}
    recipe = Recipe(
        kind=KIND,
        schema=SCHEMA,
        config={"model": dict(model.identity), "images": about, "hookpoints": names, "settings": settings},
        seed=settings.seed,
        materials=tuple({record["name"]: record for record in (*model.materials, *images.materials)}.values()),
    )
    if not artifacts.is_finished(out, recipe):
        plan = _plan(model, images, names, settings)
        runtime.require_disk(out, plan.n_tokens * plan.row_bytes)
        with artifacts.draft(out, recipe) as work:
            batches = _batches(model, images, settings.batch_images)
            writer = fill(work, batches, lambda batch: _forward(model, names, batch), plan).writer
            read = {"text": images.name, "share": 1.0, "tokens": plan.n_tokens, "documents": images.n_images}
            index = {
                "hookpoints": plan.widths,
                "dtype": settings.dtype,
                "model": dict(model.identity),
                "texts": [read],
                "n_documents": images.n_images,
                "held_out": settings.held_out,
                "seed": settings.seed,
                "special_tokens": [model.words.class_token],
            }
            writer.finish(index=index, sources=images.sources)
    return ActivationStore(out)


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImageBatch:
    """Images of one forward, and their tokens in stream order."""

    images_BHW: Tensor
    tokens_N: Int[np.ndarray, " N"]
    documents_N: Int[np.ndarray, " N"]
    positions_N: Int[np.ndarray, " N"]


def _plan(model: ImageModel, images: Images, names: list[str], settings: ImageCollectSettings) -> Plan:
    tokens_per_image = 1 + model.n_patches
    return Plan(
        model=model.name,
        widths={name: width(model, name) for name in names},
        dtype=TORCH_DTYPES[settings.dtype],
        shard_rows=settings.shard_rows,
        batch_tokens=settings.batch_images * tokens_per_image,
        n_tokens=images.n_images * tokens_per_image,
        special=(model.words.class_token,),
        sink_multiple=0.0,
    )


def _batches(model: ImageModel, images: Images, size: int) -> Iterator[_ImageBatch]:
    for start in range(0, images.n_images, size):
        part_BHW = images.pixels_NHW[start : start + size]
        tokens_BS = model.words.tokens(part_BHW).numpy()
        n, length = tokens_BS.shape
        yield _ImageBatch(
            images_BHW=part_BHW,
            tokens_N=tokens_BS.ravel(),
            documents_N=np.repeat(np.arange(start, start + n), length),
            positions_N=np.tile(np.arange(length), n),
        )


def _forward(model: ImageModel, hookpoints: list[str], batch: _ImageBatch) -> dict[str, Float[Tensor, "N _"]]:
    found = run(model, model.inputs(batch.images_BHW), hookpoints)
    return {name: x_BSD.flatten(0, 1) for name, x_BSD in found.items()}
