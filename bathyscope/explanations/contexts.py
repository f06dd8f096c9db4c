"""Top contexts: the words on which a feature's activation lies in its top examples. The baseline for all words."""

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from bathyscope.features.reader import FeatureIndex
from bathyscope.features.words import text_words

_SPACES = str.maketrans({" ": "␣", "\n": "⏎", "\t": "⇥", "\r": "↵"})


class ContextWords:
    """For each feature its words by share of the activation in its top examples.

    A token without letters counts as itself, shown without the spaces around it (or, if it is nothing else, with
    signs for them).
    """

    def __init__(self, index: FeatureIndex) -> None:
        features, tokens, values = _activations(index)
        self._names, unit_of_token = _units(index)
        units = unit_of_token[tokens]
        order = np.lexsort((units, features))
        features, units, values = features[order], units[order], values[order]
        first = np.flatnonzero((np.diff(features, prepend=-1) != 0) | (np.diff(units, prepend=-1) != 0))
        mass = np.add.reduceat(values, first) if len(first) else values
        total = np.bincount(features, values, minlength=index.n_features)
        order = np.lexsort((units[first], -mass, features[first]))
        self._features, self._units = features[first][order], units[first][order]
        self._share = mass[order] / total[self._features]

    def words(self, feature: int, *, n: int) -> list[tuple[str, float]]:
        """The `n` words with the largest share, and their shares."""
        start, stop = np.searchsorted(self._features, [feature, feature + 1])
        rows = range(int(start), int(min(stop, start + n)))
        return [(self._names[int(self._units[row])], float(self._share[row])) for row in rows]


def _units(index: FeatureIndex) -> tuple[list[str], Int[np.ndarray, " T"]]:
    """What can be a context word, and which one each token of the text is: its word, or else its own string."""
    tokens = np.asarray(index.tokens)
    text = text_words(tokens, np.asarray(index.documents), index.vocabulary)
    others = np.unique(tokens[text.word_of_token < 0])
    numbers = {word: number for number, word in enumerate(text.words)}
    strings = [_shown(string) for string in index.token_strings(others.tolist())]
    own = np.array([numbers.setdefault(string, len(numbers)) for string in strings], dtype=np.int64)
    unit_of_id = np.zeros(int(tokens.max(initial=0)) + 1, dtype=np.int64)
    unit_of_id[others] = own
    return list(numbers), np.where(text.word_of_token >= 0, text.word_of_token, unit_of_id[tokens])


def _shown(string: str) -> str:
    return string.strip() or string.translate(_SPACES)


def _activations(
    index: FeatureIndex,
) -> tuple[Int[np.ndarray, " A"], Int[np.ndarray, " A"], Float[np.ndarray, " A"]]:
    """Feature, token offset and value of every activation inside the top examples."""
    table = index.all_examples(columns=["feature", "group", "start", "stop", "values"])
    table = table.filter(pa.array(table["group"].to_numpy(zero_copy_only=False) == "top"))
    starts, lengths = table["start"].to_numpy(), (table["stop"].to_numpy() - table["start"].to_numpy())
    values = table["values"].combine_chunks().flatten().to_numpy().astype(np.float64)
    ends = np.cumsum(lengths)
    offsets = np.arange(len(values)) - np.repeat(ends - lengths, lengths) + np.repeat(starts, lengths)
    active = values > 0
    return np.repeat(table["feature"].to_numpy(), lengths)[active], offsets[active], values[active]
