"""The inverted file: what goes in by row comes out by feature, however it was cut."""

import numpy as np
import pytest

from bathyscope.features.postings import Block, Postings, PostingsWriter


@pytest.fixture
def codes_NF() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.where(rng.random((60, 10)) < 0.3, rng.random((60, 10)), 0).astype(np.float32) * (np.arange(10) != 4)


def written(folder, codes_NF: np.ndarray, *, rows_per_run: int) -> Postings:
    writer = PostingsWriter(folder, n_features=codes_NF.shape[1])
    for start in range(0, len(codes_NF), rows_per_run):
        rows, features = np.nonzero(codes_NF[start : start + rows_per_run])
        writer.add(features, rows + start, codes_NF[rows + start, features])
        writer.flush()
    return Postings((folder, writer.n_runs))


def dense(block: Block, n_rows: int) -> np.ndarray:
    codes = np.zeros((n_rows, block.n_features), np.float32)
    codes[block.rows, block.features] = block.values
    return codes


@pytest.mark.parametrize("rows_per_run", [1, 7, 60])
def test_a_block_holds_every_firing_of_its_features_in_row_order(tmp_path, codes_NF, rows_per_run):
    block = written(tmp_path, codes_NF, rows_per_run=rows_per_run).block(2, 7)
    assert np.array_equal(dense(block, 60), codes_NF[:, 2:7])
    assert block.counts.tolist() == (codes_NF[:, 2:7] > 0).sum(0).tolist()
    assert (np.diff(block.features * 60 + block.rows) > 0).all()


@pytest.mark.parametrize("limit", [1, 30, 10_000])
def test_blocks_cover_all_features_in_whole_multiples(tmp_path, codes_NF, limit):
    blocks = list(written(tmp_path, codes_NF, rows_per_run=25).blocks(multiple=4, limit=limit))
    assert np.array_equal(np.concatenate([dense(block, 60) for block in blocks], axis=1), codes_NF)
    assert all(block.first % 4 == 0 for block in blocks)
    assert limit < 10_000 or len(blocks) == 1
    assert limit > 1 or len(blocks) == 3
