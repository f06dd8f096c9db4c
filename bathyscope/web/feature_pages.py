"""Features as list columns (loaded at once) and as chunks of pages (loaded when looked at).

A chunk row holds figures rounded to four digits and windows as offsets into the token stream; activations inside a
window are whole numbers in 1/10,000 of the feature's maximum, silent tokens left out.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bathyscope.web.feature_source import FeatureSource, WordRow
from bathyscope.web.numbers import short

FEATURES_PER_CHUNK = 48
TOKENS_PER_BLOCK = 65_536
SCALE_STEPS = 10_000
N_LIST_WORDS, N_CONTEXTS = 10, 5
GROUPS = ("top", *(f"tenth-{i}" for i in range(10, 0, -1)), "near-miss", "silent")


def layout(source: FeatureSource) -> dict[str, Any]:
    """Counts, and how the blocks are cut: what the page needs to find its way in them."""
    return {
        "n": source.n_features,
        "n_silent": int(np.sum(source.features["n_fires"].to_numpy() == 0)),
        "n_examples": len(source.example_features),
        "n_stream_tokens": len(source.stream.ids),
        "groups": list(GROUPS),
        "scale_steps": SCALE_STEPS,
        "per_chunk": FEATURES_PER_CHUNK,
        "per_token_block": TOKENS_PER_BLOCK,
        "token_bytes": token_bytes(source),
    }


def n_blocks(source: FeatureSource) -> int:
    """Number of chunks and of token blocks together."""
    return math.ceil(source.n_features / FEATURES_PER_CHUNK) + math.ceil(len(source.stream.ids) / TOKENS_PER_BLOCK)


def list_columns(source: FeatureSource) -> dict[str, Any]:
    """What search, sorting and the map need for every feature."""
    table = source.features
    rows = _of_method(source, source.default_method)
    return {
        "density": short(table["density"].to_pylist()),
        "n_fires": table["n_fires"].to_pylist(),
        "max": short(table["max"].to_pylist()),
        "score": short([words[0][2] if words else None for words in rows]),
        "beats": [_beats(words) for words in rows],
        "words": [[row[0] for row in words[:N_LIST_WORDS]] for words in rows],
        "contexts": [[row[0] for row in words[:N_CONTEXTS]] for words in _of_method(source, "contexts")],
        "tokens": [[source.ranks[t] for t in ids or []] for ids in table["top_tokens"].to_pylist()],
        "peaks": [[source.ranks[t] for t in source.peak_tokens.get(f, [])] for f in range(source.n_features)],
    }


def token_strings(source: FeatureSource) -> dict[str, Any]:
    """Ids and texts (or bytes) of the tokens used on the page, by rank; a token without text shows its number."""
    ids = sorted(source.ranks, key=source.ranks.__getitem__)
    return {"ids": ids, "strings": [source.pieces.get(i, f"⟨{i}⟩") for i in ids]}


def token_blocks(source: FeatureSource) -> Iterator[bytes]:
    """Ranks of the stream's tokens, little-endian uint16 (uint32 when there are more than 65,536 ranks)."""
    by_id = np.zeros(max(source.ranks, default=0) + 1, np.int64)
    by_id[list(source.ranks)] = list(source.ranks.values())
    ranks = by_id[source.stream.ids].astype(f"<u{token_bytes(source)}")
    for start in range(0, len(ranks), TOKENS_PER_BLOCK):
        yield ranks[start : start + TOKENS_PER_BLOCK].tobytes()


def token_bytes(source: FeatureSource) -> int:
    """Bytes of one token in a block: 2 or 4."""
    return 2 if len(source.ranks) <= 1 << 16 else 4


def chunks(source: FeatureSource) -> Iterator[list[dict[str, Any]]]:
    """Feature pages, `FEATURES_PER_CHUNK` at a time."""
    for start in range(0, source.n_features, FEATURES_PER_CHUNK):
        stop = min(start + FEATURES_PER_CHUNK, source.n_features)
        rows = source.features.slice(start, stop - start).to_pylist()
        examples = source.examples_between(start, stop)
        yield [_page(source, row, examples.get(row["feature"], [])) for row in rows]


def _page(source: FeatureSource, row: dict[str, Any], examples: list[dict[str, Any]]) -> dict[str, Any]:
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
        "top": _logits(source, row["top_tokens"], row["top_logits"]),
        "bottom": _logits(source, row["bottom_tokens"], row["bottom_logits"]),
        "cosine": [row["neighbours"] or [], short(row["neighbour_cosines"] or [])],
        "cofiring": [row["cofiring"] or [], short(row["cofiring_scores"] or [])],
        "words": {method: rows[row["feature"]] for method, rows in source.words.items() if row["feature"] in rows},
        "scale": short([scale])[0],
        "examples": [_example(example, scale) for example in examples],
    }


def _logits(source: FeatureSource, tokens: Sequence[int] | None, logits: Sequence[float] | None) -> list[list[Any]]:
    return [[source.ranks[token] for token in tokens or []], short(logits or [])]


def _example(example: dict[str, Any], scale: float) -> list[Any]:
    """[group, document, start, length, peak, value, [position, steps, position, steps, …]]."""
    start, group = int(example["start"]), example["group"]
    unit = SCALE_STEPS / scale if scale > 0 else 0.0
    active = ((i, round(v * unit)) for i, v in enumerate(example["values"] or ()) if v and math.isfinite(v))
    return [
        GROUPS.index(group) if group in GROUPS else group,
        example["document"],
        example["place"],
        int(example["stop"]) - start,
        int(example["token"]) - start,
        short([example["value"]])[0],
        [number for pair in active if pair[1] for number in pair],
    ]


def _of_method(source: FeatureSource, method: str) -> list[list[WordRow]]:
    """Words of every feature by one method."""
    found = source.words.get(method, {})
    return [found.get(feature, []) for feature in range(source.n_features)]


def _beats(words: list[WordRow]) -> int | None:
    """Whether a feature's best word beats its null; None when no null was measured."""
    return words[0][5] if words else None
