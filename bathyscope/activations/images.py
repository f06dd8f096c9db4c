"""Labelled grey images in a fixed order: handwritten digits of a pinned material, or any that a person has.

An image is a document: its number decides, with a seed, whether it is held out. Knows nothing of models.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor

from bathyscope import materials
from bathyscope.activations.split import held_out
from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import sha256_of

MNIST_SIDE = 28


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Images:
    """N grey images with a class each, in the order in which they are numbered."""

    name: str
    """What they are called in sources and manifests."""
    pixels_NHW: UInt8[Tensor, "N H W"]
    """Brightness, 0 to 255."""
    labels_N: Int[Tensor, " N"]
    """Class of each image, from 0."""
    materials: tuple[Mapping[str, str], ...] = ()
    """Materials they come from (name, version, sha256, licence, origin)."""

    def __post_init__(self) -> None:
        if len(self.pixels_NHW) == 0 or len(self.pixels_NHW) != len(self.labels_N):
            n, m = len(self.pixels_NHW), len(self.labels_N)
            raise ConfigError(f"{self.name}: {n} images with {m} classes; expected one class for each of at least one")

    @property
    def n_images(self) -> int:
        """How many there are."""
        return len(self.pixels_NHW)

    @property
    def sha256(self) -> str:
        """Checksum of pixels and classes in their order."""
        pixels, labels = self.pixels_NHW.contiguous().numpy(), self.labels_N.to(torch.int64).contiguous().numpy()
        return sha256_of(f"{tuple(pixels.shape)}".encode() + pixels.tobytes() + labels.tobytes())

    @property
    def sources(self) -> list[str]:
        """What each image is called: `mnist #17: 4`."""
        return [f"{self.name} #{number}: {label}" for number, label in enumerate(self.labels_N.tolist())]

    def is_held_out(self, *, share: float, seed: int) -> Bool[Tensor, " N"]:
        """True for the images that nothing learns from: those that a store of the same share and seed holds out."""
        return torch.from_numpy(held_out(np.arange(self.n_images), share=share, seed=seed))


def read_digits(*, seed: int = 0) -> Images:
    """The 10,000 handwritten digits of material `mnist`, in an order drawn from `seed`; fetched if they are not here.

    Raises ModelError when they cannot be had, ArtifactError for a file that holds anything else.
    """
    material = materials.fetch("mnist")
    of_digit = [(int(file.part), _pixels(material.files[file.name])) for file in materials.entry("mnist").files]
    pixels_NHW = torch.cat([pixels for _, pixels in of_digit])
    labels_N = torch.cat([torch.full((len(pixels),), digit) for digit, pixels in of_digit])
    order_N = torch.randperm(len(labels_N), generator=torch.Generator().manual_seed(seed))
    return Images(
        name="mnist", pixels_NHW=pixels_NHW[order_N], labels_N=labels_N[order_N], materials=(material.record(),)
    )


def _pixels(file: Path) -> UInt8[Tensor, "N 28 28"]:
    """The images in a JSON object whose `data` is one list of brightnesses from 0 to 1, rounded to three places."""
    try:
        values = np.array(json.loads(file.read_bytes())["data"], dtype=np.float64)
    except (ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{file} cannot be read as images of digits: {error}") from error
    if values.ndim != 1 or len(values) % MNIST_SIDE**2 or not ((values >= 0) & (values <= 1)).all():
        raise ArtifactError(f"{file}: expected brightnesses from 0 to 1, {MNIST_SIDE**2} for each image")
    whole = torch.from_numpy((values * 255).round().astype(np.uint8))
    return whole.view(-1, MNIST_SIDE, MNIST_SIDE)
