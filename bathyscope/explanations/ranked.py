"""Words of many features by one method, and many methods as the columns of one table."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from jaxtyping import Bool, Float, Int, Shaped


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranked:
    """The words of F features, best first; a slot without a word is empty. Columns a method does not have are None."""

    method: str
    words: Shaped[np.ndarray, "F n"]
    """Strings; empty where there is none."""
    score: Float[np.ndarray, "F n"]
    p_word: Float[np.ndarray, "F n"] | None = None
    p_feature: Float[np.ndarray, "F n"] | None = None
    n_word_tokens: Int[np.ndarray, "F n"] | None = None
    p_value: Float[np.ndarray, "F n"] | None = None
    beats_null: Bool[np.ndarray, "F n"] | None = None

    def take(self, features: Int[np.ndarray, " C"]) -> "Ranked":
        """The words of some features (by their place here)."""
        optional = ("p_word", "p_feature", "n_word_tokens", "p_value", "beats_null")
        found = {name: None if (column := getattr(self, name)) is None else column[features] for name in optional}
        return Ranked(
            method=self.method,
            words=self.words[features],
            score=self.score[features],
            **found,
        )

    def only(self, chosen_F: Bool[np.ndarray, " F"]) -> "Ranked":
        """The same without the words of features that are not chosen."""
        return replace(self, words=np.where(chosen_F[:, None], self.words, ""))


def named(names: Sequence[str], numbers: Int[np.ndarray, "F n"]) -> Shaped[np.ndarray, "F n"]:
    """Strings by their numbers; empty for −1."""
    return np.array([*names, ""], dtype=object)[numbers]


def table_columns(features: Int[np.ndarray, " F"], parts: Sequence[Ranked]) -> dict[str, Any]:
    """Columns of `words.parquet`: the words of the same features by every method, by feature, method and rank."""
    shapes = [part.words.shape for part in parts]
    at = {
        "feature": np.concatenate([np.repeat(features, n) for _, n in shapes]),
        "method": np.concatenate([np.full(f * n, i) for i, (f, n) in enumerate(shapes)]),
        "rank": np.concatenate([np.tile(np.arange(n), f) for f, n in shapes]),
    }
    words = np.concatenate([part.words.ravel() for part in parts])
    order = np.lexsort((at["rank"], at["method"], at["feature"]))
    order = order[words[order] != ""]
    methods = np.array([part.method for part in parts], dtype=object)
    return {
        "feature": at["feature"][order],
        "method": methods[at["method"][order]],
        "rank": at["rank"][order],
        "word": words[order],
        "n_word_tokens": _column([part.n_word_tokens for part in parts], shapes, order, pa.int16()),
        "score": _column([part.score for part in parts], shapes, order, pa.float32()),
        "p_word_given_feature": _column([part.p_word for part in parts], shapes, order, pa.float32()),
        "p_feature_given_word": _column([part.p_feature for part in parts], shapes, order, pa.float32()),
        "p_value": _column([part.p_value for part in parts], shapes, order, pa.float32()),
        "beats_null": _column([part.beats_null for part in parts], shapes, order, pa.bool_()),
    }


def _column(
    found: Sequence[np.ndarray | None], shapes: Sequence[tuple[int, ...]], order: np.ndarray, kind: pa.DataType
) -> pa.Array:
    """One column of all methods, null for those that do not have it."""
    values = [np.zeros(shape) if each is None else each for each, shape in zip(found, shapes, strict=True)]
    missing = [np.full(shape, each is None) for each, shape in zip(found, shapes, strict=True)]
    flat, mask = (np.concatenate([part.ravel() for part in parts])[order] for parts in (values, missing))
    return pa.array(flat.astype(kind.to_pandas_dtype()), kind, mask=mask)
