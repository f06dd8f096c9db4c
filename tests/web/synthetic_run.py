"""A made-up run folder with every artifact the page reads: small, plausible, the same bytes for the same seed.

`PYTHONPATH=.:tests python tests/web/synthetic_run.py OUT [N_FEATURES] [N_DOCUMENTS]` writes one to look at while
working on the page.
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from web.synthetic_features import codes, example_rows, feature_row, word_rows
from web.synthetic_text import HOSTILE, TOPICS, MadeUpText, make_text

from bathyscope import artifacts
from bathyscope.artifacts import Recipe
from bathyscope.explanations.reader import WORDS, WORDS_FILE
from bathyscope.features import layout
from bathyscope.features.tokens import TokenTable

SEED = 0
NULL_SCORE = 1.2
LICENCES = {
    "moby-dick": "Apache-2.0; text public domain",
    "state-of-the-union": "Apache-2.0; texts public domain",
    "catholic-bible": "public domain (texts), MIT (package)",
    "python:stdlib": "PSF-2.0",
}
FIGURES = {
    "variance explained": {"dictionary": 0.783, "random dictionary": 0.231, "mean": 0.0},
    "cosine": {"dictionary": 0.912, "random dictionary": 0.604, "mean": 0.41},
    "L0": {"dictionary": 32.0, "random dictionary": 32.0},
    "dead share": {"dictionary": 0.077, "random dictionary": 0.0},
    "dense share": {"dictionary": 0.004, "random dictionary": 0.0},
    "CE loss": {"clean model": 3.12, "dictionary": 3.41, "random dictionary": 6.2, "zeroed layer": 9.8, "mean": 7.4},
    "CE loss recovered": {"dictionary": 0.957, "random dictionary": 0.54, "zeroed layer": 0.0, "mean": 0.36},
    "CE loss recovered over mean": {"dictionary": 0.93, "random dictionary": 0.28, "zeroed layer": -0.56, "mean": 0.0},
    "KL": {"dictionary": 0.31, "random dictionary": 3.05, "zeroed layer": 6.6, "mean": 4.3},
}
PROMPTS = ("Tell me about your weekend plans.", "What should I cook tonight?", "Why is the sky blue?")
STEERED = {0: "sea", 2: "music"}
STRENGTHS = (1.0, 2.0, 4.0, 8.0)
PLAIN = "I would start with something simple. A quiet morning, a short walk, and time to read the book that waits."


def make_run(out: Path, *, n_features: int = 200, n_documents: int = 120, only: tuple[str, ...] = ()) -> Path:
    """Write a run folder to `out`; with `only`, just these folders."""
    text = make_text(n_documents, SEED)
    writers: dict[str, Callable[[Path], None]] = {
        "activations": lambda folder: _activations(folder, text),
        "dictionary": lambda folder: _dictionary(folder, n_features),
        "features": lambda folder: _features(folder, text, n_features),
        "explanations": lambda folder: _explanations(folder, n_features),
        "scores": _scores,
        "generations": _generations,
        "steering-scores": _steering_scores,
    }
    for name, write in writers.items():
        if not only or name in only:
            write(out / name)
    return out


def _activations(out: Path, text: MadeUpText) -> None:
    materials = tuple(
        {"name": name, "version": "0.2.3", "sha256": f"{i:x}" * 64, "licence": licence, "origin": f"texts of {name}"}
        for i, (name, licence) in enumerate(LICENCES.items(), start=1)
    )
    identity = {"name": "SmolLM2-135M-Instruct", "sha256": "b179c952" * 8, "description": "Q4_1, dequantised"}
    config = {"kind": "CollectSettings", "hookpoint": "layers.15", "n_tokens": len(text.tokens), "held_out": 0.1}
    with artifacts.draft(out, Recipe(kind="activations", config=config, seed=SEED, materials=materials)) as work:
        _json(work.path / "index.json", {"model": identity, "hookpoints": {"layers.15": 576}, "texts": _texts(text)})


def _texts(text: MadeUpText) -> list[dict[str, Any]]:
    names = np.array([text.sources[document].partition(" #")[0] for document in text.documents.tolist()])
    first = np.flatnonzero(np.diff(text.documents, prepend=-1))
    return [
        {
            "text": str(name),
            "share": 0.2,
            "tokens": int((names == name).sum()),
            "documents": int((names[first] == name).sum()),
        }
        for name in np.unique(names)
    ]


def _dictionary(out: Path, n_features: int) -> None:
    kind = {"kind": "TopK", "n_features": n_features, "k": 32, "k_aux": 288, "aux_coefficient": 0.03125}
    config = {"kind": kind, "settings": {"kind": "TrainSettings", "epochs": 4, "lr": 0.0004, "batch_size": 4096}}
    with artifacts.draft(out, Recipe(kind="dictionary", config=config, seed=SEED)) as work:
        content = {"hookpoint": "layers.15", "n_features": n_features, "d_model": 576, "kind": kind}
        _json(work.path / "config.json", content)


def _features(out: Path, text: MadeUpText, n_features: int) -> None:
    rows, examples = list[dict[str, Any]](), list[dict[str, Any]]()
    for feature in range(n_features):
        codes_T = codes(text, feature, SEED)
        rows.append(feature_row(text, feature, codes_T, n_features=n_features, seed=SEED))
        examples += example_rows(text, feature, codes_T, seed=SEED)
    with artifacts.draft(out, Recipe(kind="features", config={"kind": "IndexSettings"}, seed=SEED)) as work:
        pq.write_table(pa.Table.from_pylist(rows, schema=layout.FEATURES), work.path / layout.FEATURES_FILE)
        table = pa.Table.from_pylist(examples, schema=layout.EXAMPLES)
        pq.write_table(table, work.path / layout.EXAMPLES_FILE, row_group_size=512)
        np.save(work.path / layout.TOKENS_FILE, text.tokens)
        np.save(work.path / layout.DOCUMENTS_FILE, text.documents)
        TokenTable(tuple(text.pieces), frozenset({0})).save(work.path / layout.VOCABULARY_FILE)
        _json(work.path / layout.SOURCES_FILE, {str(number): label for number, label in text.sources.items()})
        counts = {"n_tokens": len(text.tokens), "n_documents": len(text.sources), "n_features": n_features}
        _json(work.path / layout.SUMMARY_FILE, {**counts, "split": "held_out", "hookpoint": "layers.15"})


def _explanations(out: Path, n_features: int) -> None:
    rows = [row for f in range(n_features) for row in word_rows(f, seed=SEED, null_score=NULL_SCORE)]
    first = [row["beats_null"] for row in rows if row["rank"] == 0 and row["beats_null"] is not None]
    summary = {
        "methods": ["mutual-information", "logit-lens", "contexts"],
        "default_method": "mutual-information",
        "null": "best score of 1000 random directions, quantile 0.95",
        "null_score": NULL_SCORE,
        "share_beating_null": sum(first) / len(first),
        "n_explained": n_features,
        "n_words": 5000,
    }
    with artifacts.draft(out, Recipe(kind="explanations", config={"kind": "MutualInformation"}, seed=SEED)) as work:
        pq.write_table(pa.Table.from_pylist(rows, schema=WORDS), work.path / WORDS_FILE)
        _json(work.path / "summary.json", summary)


def _scores(out: Path) -> None:
    rows: list[dict[str, Any]] = []
    for metric, subjects in FIGURES.items():
        n, unit = (4608, "features") if metric.endswith("share") else (31, "documents")
        for subject, value in subjects.items():
            half = 0.0 if metric == "L0" else 0.02 * abs(value) + 0.004
            rows.append(_score(subject, metric, value, half, n=n, unit=unit))
    _write_scores(out, rows)


def _steering_scores(out: Path) -> None:
    rows: list[dict[str, Any]] = []
    for feature in STEERED:
        for strength in STRENGTHS:
            for subject, gain in (("steered feature", 1.0), ("random direction", 0.08)):
                end = f"feature {feature} · {strength:g}×"
                for name, (value, half) in _effects(gain, strength).items():
                    rows.append(_score(subject, f"{name} · {end}", value, half, n=len(PROMPTS), unit="prompts"))
    _write_scores(out, [{**row, "split": "report prompts"} for row in rows])


def _effects(gain: float, strength: float) -> dict[str, tuple[float, float]]:
    shift, kl = gain * 1.9 * float(np.log1p(strength)), (0.4 + 0.6 * gain) * 0.09 * strength**1.6
    return {"target log-prob shift": (shift, 0.4), "KL": (kl, 0.1), "repetition": (gain * 0.05 * strength, 0.02)}


def _score(subject: str, metric: str, value: float, half: float, *, n: int, unit: str) -> dict[str, Any]:
    row = {"subject": subject, "metric": metric, "value": value, "low": value - half, "high": value + half}
    return {**row, "n": n, "unit": unit, "split": "held_out"}


def _write_scores(out: Path, rows: list[dict[str, Any]]) -> None:
    with artifacts.draft(out, Recipe(kind="scores", config={"subject": out.name}, seed=SEED)) as work:
        (work.path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _generations(out: Path) -> None:
    rows = [_answer(prompt, "plain", None, 0.0, PLAIN) for prompt in PROMPTS]
    for prompt in PROMPTS:
        for feature, topic in STEERED.items():
            for strength in STRENGTHS:
                words = np.random.default_rng([feature, int(strength)]).choice(TOPICS[topic], int(2 + strength))
                steered = f"I would start with the {words[0]}. " + " ".join(f"The {word}." for word in words[1:])
                wander = PLAIN.replace("quiet", "calm") if strength < 8 else "I I I would would start of the the of"
                rows.append(_answer(prompt, "feature", feature, strength, steered + HOSTILE[0] * (strength == 8)))
                rows.append(_answer(prompt, "random", feature, strength, wander))
    with artifacts.draft(out, Recipe(kind="generations", config={"kind": "AnswerSettings"}, seed=SEED)) as work:
        (work.path / "generations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _answer(prompt: str, arm: str, feature: int | None, strength: float, text: str) -> dict[str, Any]:
    gain = {"plain": 0.0, "feature": 1.0, "random": 0.08}[arm]
    return {
        "prompt": prompt,
        "arm": arm,
        "feature": feature,
        "operation": "none" if arm == "plain" else "clamp",
        "strength": strength,
        "seed": SEED,
        "prompt_tokens": [1, 2, 3],
        "tokens": list(range(len(text.split()))),
        "text": text,
        "effect": {name: value if strength else 0.0 for name, (value, _) in _effects(gain, strength).items()},
    }


def _json(file: Path, content: object) -> None:
    file.write_text(json.dumps(content))


if __name__ == "__main__":
    folder, features, documents = (*sys.argv[1:], *("", "200", "120")[len(sys.argv) - 1 :])
    make_run(Path(folder), n_features=int(features), n_documents=int(documents))
