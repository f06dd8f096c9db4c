"""Features as list columns (loaded at once) and as chunks of pages (loaded when looked at).

A chunk row holds figures rounded to four digits and windows as offsets into the token stream; activations inside a
window are whole numbers in 1/10,000 of the feature's maximum, silent tokens left out.
"""

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bathyscope.errors import ArtifactError
from bathyscope.features.layout import STRINGS_FILE, VOCABULARY_FILE
from bathyscope.features.tokens import TokenTable
from bathyscope.web.run_folder import Artifact
from bathyscope.web.token_stream import TokenStream, cover

FEATURES_PER_CHUNK = 48
TOKENS_PER_BLOCK = 65_536
SCALE_STEPS = 10_000
N_LIST_WORDS, N_PEAKS = 10, 5

Piece = str | list[int]
"""A token's text, or its bytes when they are no whole character by themselves."""
GROUPS = ("top", *(f"tenth-{i}" for i in range(10, 0, -1)), "near-miss", "silent")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeaturePages:
    """Everything the page knows about features."""

    features: pa.Table
    """`features.parquet`, ordered by feature."""
    examples: pq.ParquetFile | None
    """`examples.parquet`, sorted by feature."""
    example_features: NDArray[np.int64]
    """Feature of every example row."""
    peak_tokens: dict[int, list[int]]
    """Feature → its commonest peak tokens in the top examples."""
    stream: TokenStream
    """Text of all windows."""
    pieces: Mapping[int, Piece]
    """Token id → its text, or its bytes when they are no whole character."""
    ranks: dict[int, int]
    """Token id → its number on the page, commonest first."""
    words: dict[str, dict[int, list[list[Any]]]] = field(default_factory=dict[str, dict[int, list[list[Any]]]])
    """Method → feature → rows [word, n tokens, score, p(w|c), p(c|w), beats its null or None]."""

    @property
    def n_features(self) -> int:
        """Number of features, silent ones included."""
        return self.features.num_rows

    @property
    def n_chunks(self) -> int:
        """Number of chunks of `FEATURES_PER_CHUNK` features."""
        return math.ceil(self.n_features / FEATURES_PER_CHUNK)

    @property
    def n_token_blocks(self) -> int:
        """Number of blocks of `TOKENS_PER_BLOCK` tokens."""
        return math.ceil(len(self.stream.ids) / TOKENS_PER_BLOCK)


def open_features(index: Artifact, explanations: Artifact | None) -> FeaturePages:
    """The features of an index with their words. Raises ArtifactError when a file is damaged or rows are missing."""
    features = pq.read_table(index.file("features.parquet"))
    numbers = features["feature"].to_numpy()
    if not np.array_equal(numbers, np.arange(len(numbers))):
        raise ArtifactError(f"{index.path / 'features.parquet'} lacks features or is not ordered; make {index.path} again")
    examples = pq.ParquetFile(index.file("examples.parquet")) if index.holds("examples.parquet") else None
    tokens = np.load(index.file("tokens.npy"), mmap_mode="r", allow_pickle=False) if examples else np.zeros(0, np.int32)
    stream, example_features, peak_tokens = _windows(examples, tokens)
    ranks = _ranks(stream, features)
    return FeaturePages(
        features=features,
        examples=examples,
        example_features=example_features,
        peak_tokens=peak_tokens,
        stream=stream,
        pieces=_pieces(index, ranks),
        ranks=ranks,
        words=_words(explanations),
    )


def list_columns(pages: FeaturePages) -> dict[str, Any]:
    """What search, sorting and the map need for every feature."""
    table = pages.features
    methods = list(pages.words)
    first = pages.words[methods[0]] if methods else {}
    rows = [first.get(f, []) for f in range(pages.n_features)]
    return {
        "density": short(table["density"].to_pylist()),
        "n_fires": table["n_fires"].to_pylist(),
        "max": short(table["max"].to_pylist()),
        "score": short([words[0][2] if words else None for words in rows]),
        "beats": [_beats(words) for words in rows],
        "words": [[row[0] for row in words[:N_LIST_WORDS]] for words in rows],
        "tokens": [[pages.ranks[t] for t in ids or []] for ids in table["top_tokens"].to_pylist()],
        "peaks": [[pages.ranks[t] for t in pages.peak_tokens.get(f, [])] for f in range(pages.n_features)],
    }


def token_strings(pages: FeaturePages) -> dict[str, Any]:
    """Ids and texts (or bytes) of the tokens used on the page, by rank; a token without text shows its number."""
    ids = sorted(pages.ranks, key=pages.ranks.__getitem__)
    return {"ids": ids, "strings": [pages.pieces.get(i, f"⟨{i}⟩") for i in ids]}


def token_blocks(pages: FeaturePages) -> Iterator[bytes]:
    """Ranks of the stream's tokens, little-endian uint16 (uint32 when there are more than 65,536 ranks)."""
    by_id = np.zeros(max(pages.ranks, default=0) + 1, np.int64)
    by_id[list(pages.ranks)] = list(pages.ranks.values())
    ranks = by_id[pages.stream.ids].astype(f"<u{token_bytes(pages)}")
    for start in range(0, len(ranks), TOKENS_PER_BLOCK):
        yield ranks[start : start + TOKENS_PER_BLOCK].tobytes()


def token_bytes(pages: FeaturePages) -> int:
    """Bytes of one token in a block: 2 or 4."""
    return 2 if len(pages.ranks) <= 1 << 16 else 4


def chunks(pages: FeaturePages) -> Iterator[list[dict[str, Any]]]:
    """Feature pages, `FEATURES_PER_CHUNK` at a time."""
    for start in range(0, pages.n_features, FEATURES_PER_CHUNK):
        stop = min(start + FEATURES_PER_CHUNK, pages.n_features)
        rows = pages.features.slice(start, stop - start).to_pylist()
        examples = _examples_between(pages, start, stop)
        yield [_page(pages, row, examples.get(row["feature"], [])) for row in rows]


def short(values: Iterable[float | None]) -> list[float | None]:
    """Numbers with four significant digits; what is missing or not finite is None."""
    return [None if v is None or not math.isfinite(v) else float(f"{v:.4g}") for v in values]


def _page(pages: FeaturePages, row: dict[str, Any], examples: list[dict[str, Any]]) -> dict[str, Any]:
    peaks = [abs(example["value"] or 0.0) for example in examples]
    scale = row["max"] if row["max"] and row["max"] > 0 else max(peaks, default=0.0)
    figures = short(row[name] for name in ("density", "density_low", "density_high", "max", "mean", "std"))
    return {
        "f": row["feature"],
        "density": figures[:3],
        "n": row["n_fires"],
        "max": figures[3],
        "mean": figures[4],
        "std": figures[5],
        "quantiles": short(row[name] for name in ("q50", "q90", "q99")),
        "histogram": row["histogram"] or [],
        "top": _logits(pages, row["top_tokens"], row["top_logits"]),
        "bottom": _logits(pages, row["bottom_tokens"], row["bottom_logits"]),
        "cosine": [row["neighbours"] or [], short(row["neighbour_cosines"] or [])],
        "cofiring": [row["cofiring"] or [], short(row["cofiring_scores"] or [])],
        "words": {method: rows[row["feature"]] for method, rows in pages.words.items() if row["feature"] in rows},
        "scale": short([scale])[0],
        "examples": [_example(pages, example, scale) for example in examples],
    }


def _logits(pages: FeaturePages, tokens: Sequence[int] | None, logits: Sequence[float] | None) -> list[list[Any]]:
    return [[pages.ranks[token] for token in tokens or []], short(logits or [])]


def _example(pages: FeaturePages, example: dict[str, Any], scale: float) -> list[Any]:
    """[group, document, start, length, peak, value, [position, steps, position, steps, …]]."""
    start, stop = int(example["start"]), int(example["stop"])
    values = np.nan_to_num(np.asarray(example["values"] or [], np.float64))
    steps = np.rint(values / scale * SCALE_STEPS).astype(np.int64) if scale > 0 else np.zeros(len(values), np.int64)
    active = np.flatnonzero(steps)
    group = GROUPS.index(example["group"]) if example["group"] in GROUPS else example["group"]
    return [
        group,
        example["document"],
        int(pages.stream.place(np.array([start]))[0]),
        stop - start,
        int(example["token"]) - start,
        short([example["value"]])[0],
        np.stack([active, steps[active]], axis=1).ravel().tolist(),
    ]


def _examples_between(pages: FeaturePages, start: int, stop: int) -> dict[int, list[dict[str, Any]]]:
    """Feature → its example rows, reading only the row groups that hold features in [start, stop)."""
    if pages.examples is None:
        return {}
    first, last = np.searchsorted(pages.example_features, [start, stop])
    edges = np.cumsum([0, *(pages.examples.metadata.row_group(i).num_rows for i in range(pages.examples.num_row_groups))])
    groups = [i for i in range(len(edges) - 1) if edges[i] < last and edges[i + 1] > first]
    found: dict[int, list[dict[str, Any]]] = {}
    if groups:
        table = pages.examples.read_row_groups(groups).slice(int(first - edges[groups[0]]), int(last - first))
        for row in table.to_pylist():
            found.setdefault(row["feature"], []).append(row)
    return found


def _windows(
    examples: pq.ParquetFile | None, tokens: NDArray[np.integer]
) -> tuple[TokenStream, NDArray[np.int64], dict[int, list[int]]]:
    """The text of all windows, the feature of every example row, and each feature's commonest peak tokens."""
    if examples is None:
        none = np.zeros(0, np.int64)
        return cover(tokens, none, none), none, {}
    table = examples.read(columns=["feature", "group", "token", "start", "stop"])
    features = table["feature"].to_numpy().astype(np.int64)
    starts, stops = table["start"].to_numpy(), table["stop"].to_numpy()
    if len(features) and (np.any(np.diff(features) < 0) or starts.min() < 0 or stops.max() > len(tokens)):
        raise ArtifactError("examples.parquet is not sorted by feature or points outside tokens.npy; make the index again")
    top = np.flatnonzero(np.array(table["group"].to_pylist()) == "top")
    counts: dict[int, Counter[int]] = {}
    for feature, token in zip(features[top].tolist(), tokens[table["token"].to_numpy()[top]].tolist(), strict=True):
        counts.setdefault(feature, Counter())[token] += 1
    ranked = {f: sorted(c, key=lambda t, c=c: (-c[t], t))[:N_PEAKS] for f, c in counts.items()}
    return cover(tokens, starts, stops), features, ranked


def _ranks(stream: TokenStream, features: pa.Table) -> dict[int, int]:
    """Token id → rank by use in the windows, then by id; tokens that only stand in logit lists come last."""
    ids, counts = np.unique(stream.ids, return_counts=True)
    used = dict(zip(ids.tolist(), counts.tolist(), strict=True))
    for column in ("top_tokens", "bottom_tokens"):
        for token in set(features[column].combine_chunks().flatten().to_pylist()):
            used.setdefault(token, 0)
    return {token: rank for rank, token in enumerate(sorted(used, key=lambda token: (-used[token], token)))}


def _pieces(index: Artifact, ids: Iterable[int]) -> dict[int, Piece]:
    """Text or bytes of the given tokens: from the vocabulary of the index, or else from its list of strings."""
    if index.holds(VOCABULARY_FILE):
        table = TokenTable.load(index.file(VOCABULARY_FILE))
        return {token: _piece(table.bytes_of(token)) for token in ids}
    content = index.json(STRINGS_FILE)
    return {int(token): str(text) for token, text in (content.items() if isinstance(content, dict) else content)}


def _piece(data: bytes) -> Piece:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return list(data)


def _words(explanations: Artifact | None) -> dict[str, dict[int, list[list[Any]]]]:
    """Method → feature → word rows; `mutual-information` comes first."""
    if explanations is None or not explanations.holds("words.parquet"):
        return {}
    table = pq.read_table(explanations.file("words.parquet")).sort_by([("feature", "ascending"), ("rank", "ascending")])
    figures = [short(table[name].to_pylist()) for name in ("score", "p_word_given_feature", "p_feature_given_word")]
    beats = table["beats_null"].to_pylist() if "beats_null" in table.column_names else [None] * table.num_rows
    columns = [table[name].to_pylist() for name in ("feature", "method", "word", "n_word_tokens")]
    found: dict[str, dict[int, list[list[Any]]]] = {}
    for feature, method, word, n_tokens, score, pwc, pcw, beat in zip(*columns, *figures, beats, strict=True):
        flag = None if beat is None else int(beat)
        found.setdefault(method, {}).setdefault(feature, []).append([word, n_tokens, score, pwc, pcw, flag])
    return dict(sorted(found.items(), key=lambda item: (item[0] != "mutual-information", item[0])))


def _beats(words: list[list[Any]]) -> int | None:
    """Whether a feature's best word beats its null; None when no null was measured."""
    return words[0][5] if words else None


def to_bytes(value: Any) -> bytes:
    """JSON as UTF-8; a lone surrogate becomes a question mark."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode("utf-8", errors="replace")
