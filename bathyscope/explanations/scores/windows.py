"""The windows of the scoring half: which words stand in them, and in which a feature fires, how strongly."""

from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from bathyscope.explanations.methods import N_GRAMS
from bathyscope.explanations.reading import Reading
from bathyscope.explanations.units import NEWLINE, SPACE
from bathyscope.features.postings import Block
from bathyscope.features.tokens import TokenTable


class ScoringWindows:
    """The windows of a reading with at least one kept token, by what stands in them."""

    def __init__(self, reading: Reading, table: TokenTable) -> None:
        corpus = reading.corpus
        self._reading, self._table = reading, table
        self.tiles = np.unique(corpus.row_tiles)
        """Number of each window's tile in the corpus."""
        self.documents = np.unique(corpus.documents[corpus.tile_starts[self.tiles]], return_inverse=True)[1]
        """Ordinal of each window's document."""
        self._number = {name.casefold(): i for i, name in enumerate(reading.units.names)}
        self._found: dict[tuple[bool, str], np.ndarray] = {}

    def __len__(self) -> int:
        return len(self.tiles)

    def with_term(self, term: str, method: str) -> Int[np.ndarray, " W"]:
        """Numbers of the windows in which a word stands, whatever its case; runs of tokens are looked up as text."""
        key = (method == N_GRAMS, term.casefold())
        if key not in self._found:
            self._found[key] = self._with_text(key[1]) if key[0] else self._with_unit(key[1])
        return self._found[key]

    def counts(self, terms: list[str], method: str) -> Int[np.ndarray, " W"]:
        """How many of the terms stand in each window."""
        found = [self.with_term(term, method) for term in dict.fromkeys(terms)]
        return np.bincount(np.concatenate([np.zeros(0, np.int64), *found]), minlength=len(self))

    def peaks(self, block: Block) -> Float[np.ndarray, "F W"]:
        """Highest value of each feature of a block in each window; 0 where it does not fire."""
        found = np.zeros((block.n_features, len(self)))
        window = np.searchsorted(self.tiles, self._reading.corpus.row_tiles[block.rows])
        np.maximum.at(found, (block.features, window), block.values)
        return found

    def _with_unit(self, key: str) -> Int[np.ndarray, " W"]:
        unit = self._number.get(key)
        if unit is None:
            return np.zeros(0, dtype=np.int64)
        tokens, edges = self._tokens_by_unit
        return np.unique(self._window_of_token[tokens[edges[unit] : edges[unit + 1]]])

    def _with_text(self, text: str) -> Int[np.ndarray, " W"]:
        wanted = text.replace(NEWLINE, "\n").replace(SPACE, " ")
        return np.array([i for i, own in enumerate(self._texts) if wanted in own], dtype=np.int64)

    @cached_property
    def _window_of_token(self) -> Int[np.ndarray, " T"]:
        """−1 for tokens of tiles that are no windows; those have no kept token."""
        corpus = self._reading.corpus
        tile = np.repeat(np.arange(corpus.n_tiles), corpus.tile_stops - corpus.tile_starts)
        number = np.full(corpus.n_tiles, -1)
        number[self.tiles] = np.arange(len(self.tiles))
        return number[tile]

    @cached_property
    def _tokens_by_unit(self) -> tuple[Int[np.ndarray, " T"], Int[np.ndarray, " U1"]]:
        """Tokens in windows sorted by unit, and where each unit begins."""
        units = np.where(self._window_of_token >= 0, self._reading.units.of_token, -1)
        order = np.argsort(units, kind="stable")
        return order, np.searchsorted(units[order], np.arange(len(self._number) + 1))

    @cached_property
    def _texts(self) -> list[str]:
        corpus = self._reading.corpus
        starts, stops = corpus.tile_starts[self.tiles].tolist(), corpus.tile_stops[self.tiles].tolist()
        pieces = [self._table.render(corpus.tokens[a:b].tolist()) for a, b in zip(starts, stops, strict=True)]
        return ["".join(own).casefold() for own in pieces]
