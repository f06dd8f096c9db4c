"""Token streams: segments, tiles, windows and batches."""

import numpy as np
import pytest
import torch
from features.planted import Stream

from bathyscope.errors import ArtifactError
from bathyscope.features.corpus import corpus_of


@pytest.fixture
def stream() -> Stream:
    return Stream([50, 3, 90, 1], context=20)


def test_segments_begin_where_positions_or_documents_do(stream):
    corpus = stream.corpus(torch.zeros(stream.n_rows, 2))
    assert corpus.segments[:-1].tolist() == np.flatnonzero(stream.positions == 0).tolist()
    assert corpus.document_rows.tolist() == [50, 3, 90, 1]


def test_windows_have_full_length_inside_their_segment_and_hold_their_token(stream):
    corpus = stream.corpus(torch.zeros(stream.n_rows, 2))
    tokens = np.arange(len(stream.tokens))
    starts, stops = corpus.windows(tokens, before=5, length=8)
    segment = np.searchsorted(corpus.segments, tokens, side="right") - 1
    first, last = corpus.segments[segment], corpus.segments[segment + 1]
    assert ((first <= starts) & (starts <= tokens) & (tokens < stops) & (stops <= last)).all()
    assert (stops - starts == np.minimum(8, last - first)).all()
    middle = (tokens - 5 >= first) & (tokens + 3 <= last)
    assert (starts[middle] == tokens[middle] - 5).all()


def test_tiles_cut_segments_from_their_start_and_hold_every_row_once(stream):
    corpus = stream.corpus(torch.zeros(stream.n_rows, 2), tile=8)
    tile = corpus.row_tiles
    assert (corpus.tile_starts[tile] <= corpus.row_tokens).all()
    assert (corpus.row_tokens < corpus.tile_stops[tile]).all()
    assert (corpus.tile_stops - corpus.tile_starts).sum() == len(stream.tokens)
    assert (corpus.tile_stops - corpus.tile_starts).max() == 8


@pytest.mark.parametrize("limit", [1, 7, 8, 30, 10_000])
def test_batches_cover_all_rows_and_never_cut_a_tile(stream, limit):
    corpus = stream.corpus(torch.zeros(stream.n_rows, 2), tile=8)
    ranges = corpus.row_batches(limit)
    assert [start for start, _ in ranges] == [0, *[stop for _, stop in ranges[:-1]]]
    assert ranges[-1][1] == corpus.n_rows
    assert all(stop - start <= max(limit, 8) for start, stop in ranges)
    assert all(corpus.row_tiles[stop - 1] != corpus.row_tiles[stop] for _, stop in ranges[:-1])


def test_a_text_without_kept_tokens_is_refused():
    zeros = np.zeros(3, np.int32)
    with pytest.raises(ArtifactError, match="no token to index"):
        corpus_of(
            tokens=zeros,
            documents=zeros,
            positions=np.arange(3),
            kept=np.zeros(3, bool),
            read=lambda rows: torch.zeros(len(rows), 2),
            tile=4,
        )
