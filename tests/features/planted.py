"""Activations whose codes are known: a dictionary of one-hot directions over values that float32 adds exactly.

Feature f reads and writes coordinate f, so the pre-activation of feature f at a row is the number planted there.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from tiny import D_MODEL, tiny_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from bathyscope import artifacts
from bathyscope.activations.store import ActivationStore
from bathyscope.artifacts import Recipe
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Rule
from bathyscope.dictionaries.weights import Weights
from bathyscope.features.corpus import Corpus, corpus_of
from bathyscope.features.index import FeatureIndex, IndexSettings, index_features

HOOKPOINT = "layers.1"


def one_hot_dictionary(n_features: int = D_MODEL, *, rule: Rule, threshold: float | None = None) -> Dictionary:
    eye = torch.eye(n_features)
    weights = Weights(
        W_enc=eye.clone(),
        b_enc=torch.zeros(n_features),
        W_dec=eye.clone(),
        b_dec=torch.zeros(n_features),
        threshold=None if threshold is None else torch.full((n_features,), threshold),
    )
    return Dictionary(weights=weights, rule=rule, subtract_b_dec=False, hookpoint=HOOKPOINT)


class Stream:
    """Documents of tokens: `lengths` tokens each, cut into segments of `context` with a masked BOS each."""

    def __init__(self, lengths: list[int], *, context: int = 40, seed: int = 0, n_vocabulary: int = 256) -> None:
        rng = np.random.default_rng(seed)
        pieces = [(d, min(context - 1, n - i)) for d, n in enumerate(lengths) for i in range(0, n, context - 1)]
        self.documents = np.concatenate([np.full(n + 1, d) for d, n in pieces]).astype(np.int32)
        self.positions = np.concatenate([np.arange(n + 1) for _, n in pieces]).astype(np.int32)
        self.kept = self.positions > 0
        self.tokens = rng.integers(0, n_vocabulary, len(self.documents)).astype(np.int32)
        self.tokens[~self.kept] = 257
        self.n_rows = int(self.kept.sum())
        self.row_tokens = np.flatnonzero(self.kept)

    def corpus(self, x_ND: torch.Tensor, *, tile: int = 8) -> Corpus:
        return corpus_of(
            tokens=self.tokens,
            documents=self.documents,
            positions=self.positions,
            kept=self.kept,
            read=lambda rows: x_ND[torch.from_numpy(rows)],
            tile=tile,
        )

    def store(self, path: Path, x_ND: torch.Tensor, *, held_out: float = 0.5) -> ActivationStore:
        recipe = Recipe(kind="activations", config={"made": "planted", "held_out": held_out}, seed=0)
        with artifacts.draft(path, recipe) as work:
            save_file({HOOKPOINT: x_ND.contiguous()}, work.path / "shard-00000.safetensors")
            for name in ("tokens", "documents", "positions", "kept"):
                np.save(work.path / f"{name}.npy", getattr(self, name))
            n_documents = int(self.documents.max()) + 1
            index = {
                "hookpoints": {HOOKPOINT: x_ND.shape[1]},
                "dtype": "float32",
                "model": {"name": "planted"},
                "texts": [{"text": "planted", "share": 1.0, "tokens": len(self.tokens), "documents": n_documents}],
                "n_documents": n_documents,
                "held_out": held_out,
                "seed": 0,
                "n_rows": self.n_rows,
                "n_tokens": len(self.tokens),
                "shards": [{"file": "shard-00000.safetensors", "rows": self.n_rows}],
            }
            (work.path / "index.json").write_text(json.dumps(index))
            (work.path / "sources.json").write_text(json.dumps([f"planted #{d}" for d in range(n_documents)]))
        return ActivationStore(path)


def sparse_values(n_rows: int, n_features: int, *, seed: int, share: float = 0.1) -> torch.Tensor:
    """Values n/64: negative where nothing fires, positive at a random share; all sums are exact in float32."""
    rng = np.random.default_rng(seed)
    fires = rng.random((n_rows, n_features)) < share
    values = np.where(fires, rng.integers(1, 640, fires.shape), -rng.integers(1, 640, fires.shape)) / 64
    return torch.from_numpy(values.astype(np.float32))


def tokenizer_of(vocabulary: dict[str, int]) -> PreTrainedTokenizerFast:
    """A tokenizer that knows these pieces and nothing of how text is cut."""
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel(vocabulary, unk_token=next(iter(vocabulary)))))


def indexed(
    path: Path, stream: Stream, x_ND: torch.Tensor, dictionary: Dictionary, settings: IndexSettings, **changes: object
) -> FeatureIndex:
    """The index of planted activations, whole text, under the tiny model; `path` gets the folders `store` and `out`."""
    store = stream.store(path / "store", x_ND)
    return index_features(
        tiny_model(), dictionary, store, out=path / "out", settings=replace(settings, split="all", **changes)
    )
