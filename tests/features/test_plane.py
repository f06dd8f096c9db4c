"""The plane of a dictionary: clusters stay together, the figure that says so is right, same seed same points."""

import dataclasses
from importlib.util import find_spec

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from features.planted import one_hot_dictionary

from bathyscope import artifacts
from bathyscope.dictionaries.rules import Positive
from bathyscope.errors import ConfigError
from bathyscope.features.plane import PlaneSettings, main_axes, neighbours_kept, plane, write_plane


@pytest.fixture(scope="module")
def clustered():
    """Ninety features in three directions, and one dead feature."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.nn.functional.normalize(torch.randn(3, 16, generator=generator), dim=1)
    rows = centres.repeat_interleave(30, 0) + 0.1 * torch.randn(90, 16, generator=generator)
    rows = torch.cat([torch.nn.functional.normalize(rows, dim=1), torch.zeros(1, 16)])
    dictionary = one_hot_dictionary(16, rule=Positive())
    weights = dataclasses.replace(dictionary.weights, W_enc=rows.T.contiguous(), W_dec=rows, b_enc=torch.zeros(91))
    return dataclasses.replace(dictionary, weights=weights)


@pytest.mark.parametrize("method", ["pca", "tsne"])
def test_features_of_one_direction_stay_together(clustered, method):
    made = plane(clustered, PlaneSettings(method=method))
    assert made.features_M.tolist() == list(range(90)), "the dead feature is left out"
    centres = made.points_M2.reshape(3, 30, 2).mean(axis=1)
    spread = made.points_M2.reshape(3, 30, 2).std(axis=1).max()
    apart = min(np.linalg.norm(centres[a] - centres[b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    assert apart > 3 * spread
    assert made.kept > 0.3 > made.kept_random
    assert made.kept_random == pytest.approx(10 / 89, abs=0.05)


def test_neighbours_are_counted_as_by_hand():
    points = np.array([[0.0, 0], [1, 0], [2.1, 0], [9, 0]])
    near = np.array([[1], [0], [1], [0]])
    assert neighbours_kept(near, points) == 3 / 4
    assert neighbours_kept(np.array([[1, 2], [0, 2], [1, 0], [2, 0]]), points) == 7 / 8


def test_main_axes_are_those_of_the_covariance_and_have_a_fixed_sign():
    x = torch.randn(200, 5, generator=torch.Generator().manual_seed(0)) * torch.tensor([5.0, 3, 1, 0.5, 0.1])
    made = main_axes(x, n=2)
    _, _, axes = np.linalg.svd((x - x.mean(0)).double().numpy(), full_matrices=False)
    expected = (x - x.mean(0)).double().numpy() @ axes[:2].T
    assert np.abs(made) == pytest.approx(np.abs(expected), abs=1e-6)
    assert main_axes(-x, n=2) == pytest.approx(-made, abs=1e-9)


def test_the_folder_is_the_same_twice_and_says_what_it_keeps(clustered, tmp_path):
    summaries = [write_plane(clustered, out=tmp_path / name, parents={}) for name in ("one", "two")]
    assert summaries[0] == summaries[1] and summaries[0]["n_features"] == 90
    assert artifacts.verify(tmp_path / "one").digest == artifacts.verify(tmp_path / "two").digest
    table = pq.ParquetFile(tmp_path / "one" / "points.parquet").read()
    assert table.column_names == ["feature", "x", "y"] and len(table) == 90


def test_a_missing_library_and_too_few_features_are_named(clustered):
    if find_spec("umap") is None:
        with pytest.raises(ConfigError, match="pip install umap-learn"):
            plane(clustered, PlaneSettings(method="umap"))
    with pytest.raises(ConfigError, match="too few"):
        plane(clustered, PlaneSettings(n_neighbours=90))
