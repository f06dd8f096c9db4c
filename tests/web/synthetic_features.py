"""Made-up features over a made-up corpus, in the columns of `features.parquet`, `examples.parquet`, `words.parquet`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from web.synthetic_text import HOSTILE, TOPICS, MadeUpText, cut, topic_words

SILENT_EVERY, HOSTILE_FEATURE = 13, 3


def codes(text: MadeUpText, feature: int, seed: int) -> NDArray[np.float64]:
    """Activations of one feature on every token: a few tokens of its topic, blurred forwards, with a threshold."""
    rng = np.random.default_rng([seed, feature])
    if feature % SILENT_EVERY == SILENT_EVERY - 1:
        return np.zeros(len(text.tokens))
    strength = np.zeros(len(text.pieces))
    wanted = _wanted(text, feature, rng)
    strength[wanted] = rng.uniform(0.4, 1.0, len(wanted)) * rng.uniform(2, 30)
    drive = strength[text.tokens] * rng.uniform(0.3, 1.0, len(text.tokens))
    drive = drive + 0.35 * np.concatenate([[0], drive[:-1]])
    haze = rng.exponential(0.02 * max(strength.max(), 1), len(text.tokens)) * (text.topics == feature % 9)
    return np.where(drive + haze > 0.12 * strength.max(), drive + haze, 0)


def _wanted(text: MadeUpText, feature: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Tokens that the feature stands for: pieces of a few words of its topic, or the hostile ones."""
    if feature == HOSTILE_FEATURE:
        return np.array(
            [i for i, piece in enumerate(text.pieces) if piece.decode(errors="replace") in HOSTILE], np.int64
        )
    pieces = {cut(f" {word}")[0] for word in topic_words(feature)}
    said = np.array([i for i, piece in enumerate(text.pieces) if piece in pieces], np.int64)
    return rng.choice(said, size=min(len(said), int(rng.integers(1, 5))), replace=False)


def feature_row(
    text: MadeUpText, feature: int, codes_T: NDArray[np.float64], *, n_features: int, seed: int
) -> dict[str, Any]:
    """One row of `features.parquet`; every figure of a feature that never fires is 0."""
    rng = np.random.default_rng([seed, feature, 1])
    fires = codes_T[codes_T > 0]
    n, density = len(codes_T), len(fires) / len(codes_T)
    half = 1.96 * np.sqrt(max(density * (1 - density), 1 / n) / n) * 2.5
    best = np.argsort(-np.bincount(text.tokens, codes_T, minlength=len(text.pieces)))[:10]
    others = rng.choice(n_features, min(8, n_features), replace=False)
    quantiles = np.quantile(fires, [0.5, 0.9, 0.99]) if len(fires) else np.zeros(3)
    return {
        "feature": feature,
        "density": density,
        "density_low": max(0.0, density - half),
        "density_high": density + half,
        "n_fires": len(fires),
        "max": fires.max(initial=0.0),
        "mean": fires.mean() if len(fires) else 0.0,
        "std": fires.std() if len(fires) else 0.0,
        **dict(zip(("q50", "q90", "q99"), quantiles, strict=True)),
        "histogram": np.histogram(fires, 20, (0, fires.max(initial=1e-9)))[0].tolist(),
        "top_tokens": best.tolist(),
        "top_logits": np.sort(rng.gamma(3, 0.4, 10))[::-1].tolist(),
        "bottom_tokens": rng.choice(len(text.pieces), 10, replace=False).tolist(),
        "bottom_logits": np.sort(-rng.gamma(2, 0.3, 10)).tolist(),
        "neighbours": others.tolist(),
        "neighbour_cosines": np.sort(rng.uniform(0.05, 0.8, len(others)))[::-1].tolist(),
        "cofiring": others[::-1].tolist() if len(fires) else [],
        "cofiring_scores": np.sort(rng.uniform(0, 0.5, len(others)))[::-1].tolist() if len(fires) else [],
    }


def example_rows(text: MadeUpText, feature: int, codes_T: NDArray[np.float64], *, seed: int) -> list[dict[str, Any]]:
    """Windows of one feature: strongest, each tenth of the range, near misses, silent."""
    rng = np.random.default_rng([seed, feature, 2])
    largest = codes_T.max()
    groups: dict[str, NDArray[np.int64]] = {}
    if largest > 0:
        strongest = np.argsort(-codes_T, kind="stable")[:12]
        groups["top"] = strongest[codes_T[strongest] > 0]
        for tenth in range(10, 0, -1):
            inside = np.flatnonzero((codes_T > (tenth - 1) / 10 * largest) & (codes_T <= tenth / 10 * largest))
            groups[f"tenth-{tenth}"] = rng.permutation(inside)[:3]
    off = np.flatnonzero(codes_T == 0)
    groups["near-miss"], groups["silent"] = rng.choice(off, 5), rng.choice(off, 3)
    rows: list[dict[str, Any]] = []
    for group, tokens in groups.items():
        for rank, token in enumerate(tokens.tolist()):
            row = _example(text, codes_T, token)
            value = 0.1 * float(rng.uniform(-1, 1)) if group == "near-miss" else float(codes_T[token])
            rows.append({"feature": feature, "group": group, "rank": rank, "value": value, **row})
    return rows


def _example(text: MadeUpText, codes_T: NDArray[np.float64], token: int) -> dict[str, Any]:
    inside = np.flatnonzero(text.documents == text.documents[token])
    start = max(int(inside[0]), token - 20)
    stop = min(int(inside[-1]) + 1, start + 32)
    window = {"document": int(text.documents[token]), "token": token, "start": start, "stop": stop}
    return {**window, "values": codes_T[start:stop].tolist()}


def word_rows(feature: int, *, seed: int, null_score: float) -> list[dict[str, Any]]:
    """Rows of `words.parquet` of one feature, by all three methods."""
    rng = np.random.default_rng([seed, feature, 3])
    own = list(HOSTILE) if feature == HOSTILE_FEATURE else list(rng.permutation(topic_words(feature)))
    rest = sorted({word for words in TOPICS.values() for word in words} - set(own))
    chosen = [*own[:7], *rng.permutation(rest)][:10]
    rows: list[dict[str, Any]] = []
    for method, scale in (("mutual-information", 0.6), ("logit-lens", 4.0)):
        scores = np.sort(rng.gamma(2, scale, 10))[::-1]
        order = chosen if scale < 1 else rng.permutation(chosen)
        for rank, (word, score) in enumerate(zip(order, scores, strict=True)):
            beats = bool(score > null_score) if scale < 1 else None
            figures = (int(rng.integers(1, 3)), float(score), float(score / 9), float(rng.uniform(0, 0.2)), beats)
            rows.append(_word(feature, method, rank, str(word), *figures))
    for rank, word in enumerate(own[:3]):
        rows.append(_word(feature, "contexts", rank, str(word), 0, 0.5 / (rank + 1), 0.5 / (rank + 1), None, None))
    return rows


def _word(feature: int, method: str, rank: int, word: str, n_tokens: int, *figures: float | None) -> dict[str, Any]:
    names = ("score", "p_word_given_feature", "p_feature_given_word", "beats_null")
    row = {"feature": feature, "method": method, "rank": rank, "word": word, "n_word_tokens": n_tokens}
    return {**row, **dict(zip(names, figures, strict=True))}
