"""The parts of an index of features, each by the code that makes it, on random text of random activations."""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bathyscope.artifacts import Draft
from bathyscope.dictionaries.dictionary import Dictionary
from bathyscope.dictionaries.rules import Largest
from bathyscope.dictionaries.weights import Weights
from bathyscope.features.columns import write_examples
from bathyscope.features.corpus import Corpus, corpus_of
from bathyscope.features.encode import encode
from bathyscope.features.neighbours import cofiring_neighbours, decoder_neighbours
from bathyscope.features.settings import IndexSettings
from bathyscope.planning.measure.clock import Call, seconds_of
from bathyscope.planning.measure.copy import bounds
from bathyscope.planning.measure.fit import fitted_rates
from bathyscope.planning.stages.index import CODE_BYTES, FLOAT_BYTES, TOKEN_PAIR_BYTES, near_bytes

D_MODEL, DOCUMENT, CONTEXT = 576, 512, 128
SIZES = ((2048, 4096, 32), (4096, 2048, 8), (4096, 2048, 96), (16_384, 512, 32), (32_768, 512, 8))
"""(N, F, k): rows that are encoded, by which dictionary."""
EXAMPLE_ROWS, EXAMPLE_FEATURES, NEAR_FEATURES, COUNTED_FEATURES, COUNTED_TOKENS, K = 8192, 512, 2048, 4096, 8192, 32
SETTINGS = IndexSettings()


def index_rates(product: float, copied: float, *, rounds: int) -> dict[str, float]:
    """Sort → amount a second of near, candidates, postings, examples, largest and counting.

    Products go at `product` FLOP/s, memory is copied at `copied` bytes/s.
    """
    return {
        **_encoding(product, copied, rounds=rounds),
        "examples": _examples(rounds=rounds),
        "largest": _largest(product, rounds=rounds),
        "counting": _counting(rounds=rounds),
    }


def _encoding(product: float, copied: float, *, rounds: int) -> dict[str, float]:
    """The pass over the text, its sorts told apart by numbers of rows, features and codes."""

    def call(n: int, n_features: int, k: int) -> Call:
        corpus, dictionary = _corpus(n), _dictionary(n_features, k)
        return lambda: _encoded(corpus, dictionary)

    spent = seconds_of({str(size): call(*size) for size in SIZES}, rounds=rounds)
    amounts: list[dict[str, int | float]] = []
    left: list[float] = []
    for n, n_features, k in SIZES:
        seconds = spent[str((n, n_features, k))]
        left.append(max(seconds - 2 * n * D_MODEL * n_features / product, 0.05 * seconds))
        amounts.append(
            {
                "near": FLOAT_BYTES * n * n_features,
                "candidates": near_bytes(n, n_features),
                "postings": CODE_BYTES * n * k,
            }
        )
    return fitted_rates(amounts, left, fastest=bounds(copied, amounts[0]))


def _encoded(corpus: Corpus, dictionary: Dictionary) -> None:
    with tempfile.TemporaryDirectory() as folder:
        encode(corpus, dictionary, work=_draft(folder), settings=SETTINGS)


def _examples(*, rounds: int) -> float:
    """Features a second whose examples are chosen and written."""
    corpus = _corpus(EXAMPLE_ROWS)
    with tempfile.TemporaryDirectory() as folder:
        work = _draft(folder)
        encoded = encode(corpus, _dictionary(EXAMPLE_FEATURES, K), work=work, settings=SETTINGS)
        call = {"examples": lambda: write_examples(corpus, encoded, work=work, settings=SETTINGS)}
        return EXAMPLE_FEATURES / seconds_of(call, rounds=rounds)["examples"]


def _largest(product: float, *, rounds: int) -> float:
    """Bytes a second of cosines in which each row's nearest are found."""
    W_FD = torch.randn(NEAR_FEATURES, D_MODEL)
    calls = {"neighbours": lambda: decoder_neighbours(W_FD, n=SETTINGS.n_neighbours)}
    seconds = seconds_of(calls, rounds=rounds)["neighbours"]
    spent = max(seconds - NEAR_FEATURES**2 * D_MODEL / product, 0.05 * seconds)
    return FLOAT_BYTES * NEAR_FEATURES**2 / spent


def _counting(*, rounds: int) -> float:
    """Bytes a second of counts of features that fire together."""
    rng = np.random.default_rng(0)
    features_NK = rng.integers(COUNTED_FEATURES, size=(COUNTED_TOKENS, K), dtype=np.int32)
    features, counts = features_NK.ravel(), np.full(COUNTED_TOKENS, K)
    calls = {
        "counting": lambda: cofiring_neighbours(features, counts, n_features=COUNTED_FEATURES, n=SETTINGS.n_neighbours)
    }
    passed = COUNTED_TOKENS * K**2 * TOKEN_PAIR_BYTES
    return passed / seconds_of(calls, rounds=rounds)["counting"]


def _draft(folder: str) -> Draft:
    return Draft(Path(folder), time.monotonic())


def _dictionary(n_features: int, k: int) -> Dictionary:
    generator = torch.Generator().manual_seed(n_features)
    W_FD = torch.nn.functional.normalize(torch.randn(n_features, D_MODEL, generator=generator), dim=1)
    weights = Weights(W_enc=W_FD.T.contiguous(), b_enc=torch.zeros(n_features), W_dec=W_FD, b_dec=torch.zeros(D_MODEL))
    return Dictionary(weights=weights, rule=Largest(k=k), subtract_b_dec=False)


def _corpus(n: int) -> Corpus:
    x_ND = torch.randn(n, D_MODEL, generator=torch.Generator().manual_seed(0))
    rows = np.arange(n)
    return corpus_of(
        tokens=np.random.default_rng(0).integers(0, 4096, n),
        documents=rows // DOCUMENT,
        positions=rows % CONTEXT,
        kept=np.ones(n, dtype=bool),
        read=lambda own: x_ND[torch.from_numpy(own)],
        tile=SETTINGS.window,
    )
