"""Top contexts: the words on which a feature's activation lies in its top examples. The baseline for all words."""

import numpy as np
import pyarrow as pa
from jaxtyping import Float, Int

from bathyscope.explanations.words import TextWords
from bathyscope.features.reader import FeatureIndex


class ContextWords:
    """For each feature its words by share of the activation in its top examples.

    A token without letters counts as itself, shown as its text.
    """

    def __init__(self, index: FeatureIndex, text: TextWords) -> None:
        features, tokens, values = _activations(index)
        units = text.word_of_token[tokens]
        units = np.where(units >= 0, units, len(text.words) + np.asarray(index.tokens)[tokens])
        order = np.lexsort((units, features))
        features, units, values = features[order], units[order], values[order]
        first = np.flatnonzero((np.diff(features, prepend=-1) != 0) | (np.diff(units, prepend=-1) != 0))
        mass = np.add.reduceat(values, first) if len(first) else values
        total = np.bincount(features, values, minlength=index.n_features)
        order = np.lexsort((units[first], -mass, features[first]))
        self._features, self._units = features[first][order], units[first][order]
        self._share = mass[order] / total[self._features]
        self._index, self._text = index, text

    def words(self, feature: int, *, n: int) -> list[tuple[str, float]]:
        """The `n` words with the largest share, and their shares."""
        start, stop = np.searchsorted(self._features, [feature, feature + 1])
        rows = range(int(start), int(min(stop, start + n)))
        return [(self._word(int(self._units[row])), float(self._share[row])) for row in rows]

    def _word(self, unit: int) -> str:
        n_words = len(self._text.words)
        return self._text.words[unit] if unit < n_words else self._index.token_strings([unit - n_words])[0]


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
