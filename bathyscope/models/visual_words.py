"""`VisualWords`: small patches that stand for all patches like them, as tokens stand for pieces of text.

An image becomes a row of tokens: the class token, then the nearest word of each patch, line by line. The words are the
centres of a k-means over the patches of images (Lloyd 1982). A word is shown as a few raised dots (Braille signs, 4 × 4
dots), so that wherever a token's string is printed its patch can be seen. Knows nothing of networks.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from bathyscope.errors import ArtifactError, ConfigError
from bathyscope.files import sha256_of

SAMPLE = 50_000
"""Patches that words are fitted on; more say nothing new about a few hundred centres."""
CHUNK = 1 << 16
"""Patches that are compared with all words at once."""
DOTS = 4
"""Lines and columns of dots that a word is shown with: two Braille signs."""
INK = 128
"""A dot is raised where its part of the patch is at least this bright (of 255)."""
_DOT_BITS = torch.tensor([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])
"""Bit of each dot of a Braille sign, as Unicode numbers them."""


@dataclass(frozen=True, slots=True, eq=False)
class VisualWords:
    """The vocabulary of an image model: its words from dark to bright, and behind them the class token."""

    patches_VPP: UInt8[Tensor, "V P P"]
    """Brightness of each word's pixels."""

    @property
    def n_words(self) -> int:
        """Number of words, the class token not among them."""
        return len(self.patches_VPP)

    @property
    def patch_size(self) -> int:
        """Pixels of a patch's side."""
        return self.patches_VPP.shape[1]

    @property
    def class_token(self) -> int:
        """Id of the token that stands before the patches of every image."""
        return self.n_words

    @property
    def sha256(self) -> str:
        """Checksum of all words."""
        return sha256_of(self.patches_VPP.contiguous().numpy().tobytes())

    def tokens(self, images_NHW: UInt8[Tensor, "N H W"]) -> Int[Tensor, "N S"]:
        """The class token and then the nearest word of every patch, line by line; of equally near words the first."""
        n = len(images_NHW)
        patches_MD = patches(images_NHW, self.patch_size).flatten(0, 1).flatten(1)
        words_NS = _nearest(patches_MD.float(), self.patches_VPP.flatten(1).float()).view(n, -1)
        return torch.cat([torch.full((n, 1), self.class_token), words_NS], dim=1)

    def pieces(self) -> tuple[bytes, ...]:
        """What each id reads as, in UTF-8: two Braille signs a word, `<class>` for the class token."""
        dots_VYX = torch.nn.functional.adaptive_avg_pool2d(self.patches_VPP[:, None].double(), DOTS)[:, 0] >= INK
        signs_VK = torch.stack([(dots_VYX[:, :, x : x + 2] * _DOT_BITS).sum((1, 2)) for x in (0, 2)], dim=1)
        return (*("".join(chr(0x2800 + sign) for sign in row).encode() for row in signs_VK.tolist()), b"<class>")

    def drawn(self, tokens: Sequence[int]) -> str:
        """A whole square image's tokens as lines of Braille signs. Raises ConfigError for a part of an image."""
        pieces = self.pieces()
        shown = [pieces[token].decode() for token in tokens if token != self.class_token]
        side = math.isqrt(len(shown))
        if side == 0 or side * side != len(shown):
            raise ConfigError(f"{len(shown)} patches are no square image: give all tokens of one image")
        return "\n".join("".join(shown[line * side : (line + 1) * side]) for line in range(side))

    def save(self, file: Path) -> None:
        """Write the words as safetensors."""
        save_file({"patches": self.patches_VPP.contiguous()}, file)

    @classmethod
    def load(cls, file: Path) -> "VisualWords":
        """The words that `save` wrote. Raises ArtifactError for anything else."""
        try:
            patches_VPP = load_file(file)["patches"]
        except (OSError, KeyError, SafetensorError) as error:
            raise ArtifactError(f"{file} cannot be read as visual words: {error}") from error
        if patches_VPP.ndim != 3 or patches_VPP.dtype != torch.uint8 or patches_VPP.shape[1] != patches_VPP.shape[2]:
            raise ArtifactError(f"{file} holds no square patches of 8-bit pixels: write it with VisualWords.save")
        return cls(patches_VPP)


def patches(images_NHW: UInt8[Tensor, "N H W"], size: int) -> UInt8[Tensor, "N S P P"]:
    """The patches of each image, line by line. Raises ConfigError when they do not fill the image."""
    n, height, width = images_NHW.shape
    if size < 1 or height % size or width % size:
        raise ConfigError(f"images of {height} × {width} pixels are not filled by patches of {size}; choose a divisor")
    cut = images_NHW.view(n, height // size, size, width // size, size)
    return cut.permute(0, 1, 3, 2, 4).reshape(n, -1, size, size)


def fit_words(
    images_NHW: UInt8[Tensor, "N H W"], *, patch_size: int, n_words: int, seed: int, n_rounds: int = 20
) -> VisualWords:
    """Centres of the images' different patches: k-means from `n_words` drawn ones, `n_rounds` rounds of Lloyd.

    Each distinct patch counts once, so that the blank ones, most of a drawing, do not take most of the words. A centre
    that loses all its patches stays where it is. Raises ConfigError for fewer distinct patches than words.
    """
    generator = np.random.default_rng(seed)
    every_MD = patches(images_NHW, patch_size).flatten(0, 1).flatten(1).numpy()
    chosen = generator.choice(len(every_MD), min(len(every_MD), SAMPLE), replace=False)
    distinct_MD = torch.from_numpy(np.unique(every_MD[chosen], axis=0)).double()
    if not 1 <= n_words <= len(distinct_MD):
        raise ConfigError(
            f"n_words is {n_words}, expected 1 to {len(distinct_MD)}: so many different patches there are"
        )
    centres_VD = distinct_MD[torch.from_numpy(generator.choice(len(distinct_MD), n_words, replace=False))]
    for _ in range(n_rounds):
        word_M = _nearest(distinct_MD, centres_VD)
        count_V = torch.bincount(word_M, minlength=n_words)[:, None]
        total_VD = torch.zeros_like(centres_VD).index_add_(0, word_M, distinct_MD)
        centres_VD = torch.where(count_V > 0, total_VD / count_V.clamp_min(1), centres_VD)
    order_V = centres_VD.mean(1).argsort(stable=True)
    return VisualWords(centres_VD[order_V].round().to(torch.uint8).view(-1, patch_size, patch_size))


def _nearest(x_MD: Float[Tensor, "M D"], centres_VD: Float[Tensor, "V D"]) -> Int[Tensor, " M"]:
    """Number of the centre nearest to each row: argmin |c|² − 2 x·c. Whole numbers are compared exactly."""
    length_V = centres_VD.square().sum(1)
    return torch.cat([(length_V - 2 * part @ centres_VD.T).argmin(1) for part in x_MD.split(CHUNK)])
