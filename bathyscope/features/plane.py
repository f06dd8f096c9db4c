"""A dictionary's features as points of a plane, near where their decoder rows point the same way.

Two dimensions cannot keep hundreds. How much they do keep is stated: the share of each feature's nearest neighbours by
cosine that are among its nearest in the plane, beside random points. Dead features (zero rows) are left out.
"""

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int
from torch import Tensor

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.errors import ConfigError
from bathyscope.features.neighbours import CHUNK_COSINES, decoder_neighbours
from bathyscope.files import write_atomic

KIND = "map"
POINTS_FILE, SUMMARY_FILE = "points.parquet", "summary.json"

Method = Literal["pca", "tsne", "umap"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaneSettings:
    """How the plane is made."""

    method: Method = "pca"
    """`pca`: the two main axes; `tsne` (needs scikit-learn) and `umap` (needs umap-learn) keep neighbours better."""
    n_axes: int = 50
    """Main axes that t-SNE and UMAP start from."""
    n_neighbours: int = 10
    """Neighbours that are counted for the quality figure, and that UMAP looks at."""
    seed: int = 0
    """Seed of UMAP, t-SNE and the random points."""

    def __post_init__(self) -> None:
        if self.n_axes < 2 or self.n_neighbours < 2:
            raise ConfigError("n_axes and n_neighbours must be at least 2")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Plane:
    """Points of the live features."""

    features_M: Int[np.ndarray, " M"]
    points_M2: Float[np.ndarray, "M 2"]
    kept: float
    """Share of nearest neighbours by decoder cosine that are nearest in the plane, too."""
    kept_random: float
    """The same for random points: n_neighbours / (M − 1) is expected."""


def plane(dictionary: Dictionary, settings: PlaneSettings = PlaneSettings()) -> Plane:
    """The plane of a dictionary; same seed, same points. Raises ConfigError when a library is missing."""
    live = (dictionary.W_dec.norm(dim=1) > 0).nonzero()[:, 0].cpu()
    if len(live) <= settings.n_neighbours:
        raise ConfigError(f"{len(live)} live features are too few for a map with {settings.n_neighbours} neighbours")
    units_MD = torch.nn.functional.normalize(dictionary.W_dec[live].detach().float().cpu(), dim=1)
    points_M2 = _points(units_MD, settings)
    near = decoder_neighbours(units_MD, n=settings.n_neighbours).features
    random_M2 = np.random.default_rng(settings.seed).standard_normal(points_M2.shape)
    return Plane(
        features_M=live.numpy(),
        points_M2=points_M2,
        kept=neighbours_kept(near, points_M2),
        kept_random=neighbours_kept(near, random_M2),
    )


def write_plane(
    dictionary: Dictionary, *, out: str | Path, parents: dict[str, Path], settings: PlaneSettings = PlaneSettings()
) -> dict[str, Any]:
    """The summary of the plane, which is in the folder `out` (kind `map`): `points.parquet` and `summary.json`."""
    out = Path(out)
    recipe = Recipe(
        kind=KIND,
        config={"dictionary": dictionary.digest, "settings": settings},
        seed=settings.seed,
        parents=parents,
    )
    if not artifacts.is_finished(out, recipe):
        with artifacts.draft(out, recipe) as work:
            made = plane(dictionary, settings)
            columns = {
                "feature": made.features_M.astype(np.int32),
                "x": made.points_M2[:, 0].astype(np.float32),
                "y": made.points_M2[:, 1].astype(np.float32),
            }
            pq.write_table(pa.table(columns), work.path / POINTS_FILE, compression="zstd")
            summary = {
                "method": settings.method,
                "n_features": len(made.features_M),
                "n_neighbours": settings.n_neighbours,
                "neighbours_kept": round(made.kept, 6),
                "neighbours_kept_random": round(made.kept_random, 6),
            }
            write_atomic(work.path / SUMMARY_FILE, json.dumps(summary, indent=1, sort_keys=True).encode())
    manifest = artifacts.read_manifest(out, kind=KIND)
    return json.loads(artifacts.check_file(out, manifest, SUMMARY_FILE).read_bytes())


def main_axes(units_MD: Float[Tensor, "M D"], *, n: int) -> Float[np.ndarray, "M n"]:
    """The rows on their `n` main axes (PCA); each axis points to where its largest entry is positive."""
    centred_MD = (units_MD - units_MD.mean(0)).double()
    _, vectors_DD = torch.linalg.eigh(centred_MD.T @ centred_MD)
    axes_Dn = vectors_DD.flip(1)[:, :n]
    largest_n = axes_Dn.abs().argmax(0)
    return (centred_MD @ (axes_Dn * axes_Dn[largest_n, torch.arange(axes_Dn.shape[1])].sign())).numpy()


def neighbours_kept(near_Mk: Int[np.ndarray, "M k"], points_M2: Float[np.ndarray, "M 2"]) -> float:
    """Share of the given neighbours of each point that are among its k nearest in the plane."""
    n_points, k = near_Mk.shape
    points = torch.from_numpy(np.ascontiguousarray(points_M2)).double()
    kept, step = 0, max(1, CHUNK_COSINES // n_points)
    for start in range(0, n_points, step):
        distances = torch.cdist(points[start : start + step], points)
        own = torch.arange(start, start + len(distances))
        distances[own - start, own] = torch.inf
        nearest = distances.topk(k, dim=1, largest=False).indices.numpy()
        kept += int((near_Mk[start : start + step, :, None] == nearest[:, None, :]).sum())
    return kept / near_Mk.size


def _points(units_MD: Float[Tensor, "M D"], settings: PlaneSettings) -> Float[np.ndarray, "M 2"]:
    if settings.method == "pca":
        return main_axes(units_MD, n=2)
    start_MA = main_axes(units_MD, n=min(settings.n_axes, units_MD.shape[1]))
    if settings.method == "tsne":
        _require("sklearn", "t-SNE needs scikit-learn: pip install 'bathyscope[science]'")
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(start_MA) - 1) / 3)
        return TSNE(init="pca", perplexity=perplexity, random_state=settings.seed).fit_transform(start_MA).astype(float)
    _require("umap", "UMAP is not installed: pip install umap-learn, or choose tsne or pca")
    import umap  # pyright: ignore[reportMissingImports]

    made = umap.UMAP(n_neighbors=settings.n_neighbours, metric="cosine", random_state=settings.seed, n_jobs=1)
    return np.asarray(made.fit_transform(start_MA), dtype=np.float64)


def _require(module: str, remedy: str) -> None:
    if find_spec(module) is None:
        raise ConfigError(remedy)
