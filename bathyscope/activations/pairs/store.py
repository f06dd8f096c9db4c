"""`PairStore`: the activations of pairs on disk, with all that is known about each pair.

A folder of kind `pairs`: `index.json`; `z-*.safetensors`, one tensor [P, 2, D] (float32) per hookpoint, first side
first; `pairs.jsonl`, a line per pair with texts, support, values, group, the token ids of both sides, and the tokens
that were read. Each file's checksum is compared when it is first used. Knows nothing of models.
"""

import functools
import json
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int8
from safetensors.torch import load_file
from torch import Tensor

from bathyscope.activations.folder import HookpointFolder
from bathyscope.activations.pairs.halves import Halves, halve
from bathyscope.activations.pairs.lines import read_pairs
from bathyscope.activations.pairs.pair import Pair, PairSet
from bathyscope.activations.pairs.shift import differences
from bathyscope.artifacts import check_file
from bathyscope.errors import ArtifactError

KIND = "pairs"
SCHEMA = 1
PAIRS, FILE = "pairs.jsonl", "z-{:05d}.safetensors"
TOKEN_COLUMNS = ("tokens_before", "tokens_after", "read_before", "read_after")


class PairStore(HookpointFolder):
    """A finished folder of pairs."""

    def __init__(self, path: str | Path) -> None:
        """Open `path`. Raises ArtifactError when it is missing, unfinished, of another kind or damaged."""
        super().__init__(path, kind=KIND, schema=SCHEMA)

    @property
    def name(self) -> str:
        """Name of the pair set."""
        return str(self._index["name"])

    @property
    def n_pairs(self) -> int:
        """Number of pairs, the same at every hookpoint."""
        return int(self._index["n_pairs"])

    @property
    def factors(self) -> tuple[str, ...]:
        """Names of the factors, in the order of the columns of `support`."""
        return tuple(self._index["factors"])

    @property
    def position(self) -> str:
        """Which token was read: `last` or `mean`."""
        return str(self._index["position"])

    @property
    def warnings(self) -> list[str]:
        """What a person should know before believing anything learnt from these pairs, one line each."""
        return list(self._index["warnings"])

    @property
    def parents(self) -> dict[str, Path]:
        """The folder, under the name that manifests give it."""
        return {"pairs": self.path}

    @functools.cached_property
    def pair_set(self) -> PairSet:
        """The pairs as they were given, with what is known of each."""
        found = read_pairs(check_file(self.path, self.manifest, PAIRS), factors=self.factors, ignore=TOKEN_COLUMNS)
        if found.n_pairs != self.n_pairs:
            raise ArtifactError(f"{self.path} holds {found.n_pairs} pairs, expected {self.n_pairs}; make it again")
        return PairSet(
            name=self.name,
            factors=self.factors,
            pairs=found.pairs,
            description=str(self._index["description"]),
            materials=self.materials,
            drawn=self.manifest.config["pairs"]["drawn"],
        )

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The pairs, in the order of the rows."""
        return self.pair_set.pairs

    @property
    def support(self) -> Int8[np.ndarray, "P C"]:
        """1 where a factor changed, 0 where it did not, −1 where nobody knows."""
        return self.pair_set.support

    @property
    def directions(self) -> Int8[np.ndarray, "P C"]:
        """Which way each factor changed, see `PairSet.directions`."""
        return self.pair_set.directions

    def d_model(self, hookpoint: str | None = None) -> int:
        """Width of the vectors at `hookpoint` (which may be left out when there is one)."""
        return int(self._index["hookpoints"][self.hookpoint(hookpoint)]["d_model"])

    def both(self, hookpoint: str | None = None) -> Float[Tensor, "P 2 D"]:
        """Both vectors of every pair, float32. Raises ArtifactError for a damaged file."""
        name = self.hookpoint(hookpoint)
        entry = self._index["hookpoints"][name]
        file = check_file(self.path, self.manifest, entry["file"])
        z_P2D = load_file(file).get(name)
        expected = (self.n_pairs, 2, entry["d_model"])
        if z_P2D is None or z_P2D.shape != expected or z_P2D.dtype != torch.float32:
            raise ArtifactError(f"{file} does not hold {name} as float32 {expected}; make it again")
        return z_P2D

    def z(self, hookpoint: str | None = None) -> Float[Tensor, "P D"]:
        """The vectors of the first sides."""
        return self.both(hookpoint)[:, 0]

    def z_tilde(self, hookpoint: str | None = None) -> Float[Tensor, "P D"]:
        """The vectors of the second sides."""
        return self.both(hookpoint)[:, 1]

    def shifts(self, hookpoint: str | None = None) -> Float[Tensor, "P D"]:
        """`z̃ − z` of every pair."""
        return differences(self.both(hookpoint))

    def halves(self, seed: int = 0) -> Halves:
        """Pair numbers to choose on and pair numbers to report on; no group stands in both, see `halve`."""
        return halve(self.pair_set.groups, self.support, seed=seed)

    def tokens(self) -> list[tuple[list[int], list[int]]]:
        """Token ids of both sides of each pair, BOS included, as the model was given them."""
        lines = check_file(self.path, self.manifest, PAIRS).read_bytes().splitlines()
        rows = [json.loads(line) for line in lines]
        return [(row["tokens_before"], row["tokens_after"]) for row in rows]
