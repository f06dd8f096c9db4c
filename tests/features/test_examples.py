"""Examples: what each group promises, checked on planted activations."""

from collections import Counter

import numpy as np
import pytest
import torch
from features.planted import Stream, indexed, one_hot_dictionary, sparse_values
from tiny import D_MODEL

from bathyscope.dictionaries.rules import Above, Largest, Positive
from bathyscope.features.index import Example, FeatureIndex, IndexSettings

WINDOW = IndexSettings(window=8, window_before=5, top=6, per_tenth=2, near_misses=3, silent=3)
LENGTHS = [100, 30, 77, 5, 200, 60] * 3


class World:
    """A stream, its activations and their index."""

    def __init__(self, path, rule, *, threshold: float | None = None) -> None:
        self.stream = Stream(LENGTHS)
        self.x_ND = sparse_values(self.stream.n_rows, D_MODEL, seed=1)
        self.x_ND[:, 30] = -1.0  # never fires
        self.x_ND[:, 31] = torch.arange(self.stream.n_rows) % 64 / 64 + 1  # always fires
        self.dictionary = one_hot_dictionary(rule=rule, threshold=threshold)
        self.index = indexed(path, self.stream, self.x_ND, self.dictionary, WINDOW)
        self.codes_NF = self.dictionary.encode(self.x_ND).dense().numpy()
        self.row_of_token = np.full(len(self.stream.tokens), -1)
        self.row_of_token[self.stream.row_tokens] = np.arange(self.stream.n_rows)

    def examples(self, group: str | None = None) -> list[Example]:
        return [example for f in range(D_MODEL) for example in self.index.examples(f, group)]

    def window_codes(self, example: Example) -> np.ndarray:
        rows = self.row_of_token[example.start : example.stop]
        return np.where(rows >= 0, self.codes_NF[rows, example.feature], 0)


@pytest.fixture(scope="module", params=["positive", "largest", "above"])
def world(request, tmp_path_factory) -> World:
    path = tmp_path_factory.mktemp(request.param)
    match request.param:
        case "positive":
            return World(path, Positive())
        case "largest":
            return World(path, Largest(k=3))
        case _:
            return World(path, Above(), threshold=2.0)


def test_every_stored_window_encodes_to_its_stored_values(world):
    for example in world.examples():
        assert np.array_equal(np.float32(example.values), world.window_codes(example))
        if example.group != "near-miss":
            assert example.value == example.values[example.token - example.start]


def test_windows_lie_in_one_segment_around_their_token(world):
    starts = np.flatnonzero(world.stream.positions == 0)
    for example in world.examples():
        assert example.start <= example.token < example.stop
        assert not np.any((starts > example.start) & (starts < example.stop))
        assert world.stream.kept[example.token]
        assert example.document == world.stream.documents[example.token]
        assert len(example.values) == example.stop - example.start <= 8


def test_no_group_shows_a_token_or_a_text_twice(world):
    for f in range(D_MODEL):
        for group in {example.group for example in world.index.examples(f)}:
            own = world.index.examples(f, group)
            assert [example.rank for example in own] == list(range(len(own)))
            shown = [t for example in own for t in range(example.start, example.stop)]
            assert len(shown) == len(set(shown))


def test_top_examples_are_the_highest_peaks_two_from_a_document_at_most(world):
    for f in range(D_MODEL):
        top = world.index.examples(f, "top")
        values = [example.value for example in top]
        assert values == sorted(values, reverse=True)
        assert (values[0] if values else 0) == world.codes_NF[:, f].max()
        assert max(Counter(example.document for example in top).values(), default=0) <= 2
        assert len(top) == (6 if world.codes_NF[:, f].any() else 0)


def test_a_peak_that_is_not_shown_is_lower_or_repeats_what_is_shown(world):
    for f in range(30):
        top = world.index.examples(f, "top")
        full = {d for d, n in Counter(example.document for example in top).items() if n == 2}
        near = {t for example in top for t in range(example.start - 8, example.stop + 8)}
        free = [
            value
            for token, value in zip(world.stream.row_tokens, world.codes_NF[:, f], strict=True)
            if token not in near and world.stream.documents[token] not in full
        ]
        assert max(free) <= top[-1].value


def test_each_tenth_shows_values_of_its_own_interval_and_all_tenths_that_have_some(world):
    for f in range(D_MODEL):
        maximum = world.codes_NF[:, f].max()
        tenths = np.ceil(world.codes_NF[:, f][world.codes_NF[:, f] > 0].astype(np.float64) / maximum * 10)
        counts = Counter(np.clip(tenths, 1, 10).astype(int).tolist())
        for tenth in range(1, 11):
            own = world.index.examples(f, f"tenth-{tenth}")
            assert all((tenth - 1) / 10 * maximum < example.value <= tenth / 10 * maximum for example in own)
            assert len(own) <= 2
            assert (len(own) > 0) == (counts[tenth] > 0)


def test_silent_and_near_miss_windows_hold_no_firing(world):
    quiet = [example for example in world.examples() if example.group in ("silent", "near-miss")]
    assert len(quiet) > 5 * D_MODEL - 20
    assert all(not any(example.values) for example in quiet)
    assert world.index.examples(31, "silent") == [] or world.codes_NF[:, 31].min() == 0


def test_near_misses_come_closest_to_the_gate(world):
    for f in range(31):
        near = world.index.examples(f, "near-miss")
        values = [example.value for example in near]
        assert values == sorted(values, reverse=True)
        assert all(example.value == world.x_ND[world.row_of_token[example.token], f] for example in near)
        tiles = world.stream.corpus(world.x_ND, tile=8).row_tiles
        silent = ~np.isin(tiles, tiles[world.codes_NF[:, f] > 0])
        best = float(world.x_ND[torch.from_numpy(silent), f].max())
        if isinstance(world.dictionary.rule, Largest):
            assert (values[0], min(values) > 0) == (best, True) if best > 0 else values == []
        else:
            assert values[0] == best


def test_a_repeated_text_is_shown_once(tmp_path):
    stream = Stream([16] * 12, context=17)
    stream.tokens[stream.kept] = np.tile(np.arange(16), 12)  # the same text twelve times
    stream.tokens[-16:] = np.arange(100, 116)  # and another
    x_ND = torch.full((stream.n_rows, D_MODEL), -1.0)
    x_ND[::16, 0] = 4.0
    top = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), WINDOW).examples(0, "top")
    assert len(top) == 2
    assert {int(stream.tokens[example.token]) for example in top} == {0, 100}


@pytest.fixture(scope="module")
def replicates(tmp_path_factory) -> FeatureIndex:
    """512 features that fire alike: on 24 distant tokens of one tenth, and once at twice the value."""
    stream = Stream([40] * 25, context=41)
    x_ND = torch.full((stream.n_rows, 512), -1.0)
    x_ND[20::40] = 3.0
    x_ND[20] = 6.0
    dictionary = one_hot_dictionary(512, rule=Positive())
    return indexed(tmp_path_factory.mktemp("replicates"), stream, x_ND, dictionary, WINDOW, silent=1)


def test_samples_of_a_tenth_are_uniform(replicates):
    drawn = Counter(example.document for f in range(512) for example in replicates.examples(f, "tenth-5"))
    assert set(drawn) == set(range(1, 25))
    expected = 2 * 512 / 24
    assert sum((n - expected) ** 2 / expected for n in drawn.values()) < 49.7  # 99.9 %, 23 degrees of freedom


def test_silent_windows_are_uniform_over_documents(replicates):
    drawn = Counter(example.document for f in range(512) for example in replicates.examples(f, "silent"))
    expected = 512 / 25
    assert sum((n - expected) ** 2 / expected for n in drawn.values()) < 51.2  # 99.9 %, 24 degrees of freedom


def test_a_feature_that_is_silent_in_one_place_shows_that_place(tmp_path):
    stream = Stream([40] * 30, context=41)
    x_ND = torch.ones(stream.n_rows, D_MODEL)
    x_ND[17 * 40 + 7 : 17 * 40 + 15] = -1.0  # one whole tile of 8 tokens, which begins after BOS and 7 tokens
    index = indexed(tmp_path, stream, x_ND, one_hot_dictionary(rule=Positive()), WINDOW)
    for group in ("silent", "near-miss"):
        (only,) = index.examples(0, group)
        assert (only.start, only.stop) == (17 * 41 + 8, 17 * 41 + 16)
